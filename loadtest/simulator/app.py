"""The ASGI application: routes, and one chat call from its first byte to its line in the journal."""

import asyncio
import logging
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import orjson

from loadtest.simulator.behaviour import Behaviour, Fault
from loadtest.simulator.chance import Chance
from loadtest.simulator.conversation import Conversation
from loadtest.simulator.delivery import Timing, deliver, deliver_refusal
from loadtest.simulator.dialogue import reply_to
from loadtest.simulator.exchange import (
    JSON,
    MAX_BODY_BYTES,
    BodyTooLargeError,
    ClientGoneError,
    Exchange,
    Receive,
    Scope,
    Send,
)
from loadtest.simulator.holds import Holds
from loadtest.simulator.journal import Entry, Journal, JournalQuery, Outcome, excerpt
from loadtest.simulator.limits import NO_QUOTA, LimitedError, Limits, Quota
from loadtest.simulator.meters import Meters
from loadtest.simulator.metrics_page import CONTENT_TYPE, metrics_page
from loadtest.simulator.request import RefusedError, parse_request
from loadtest.simulator.rules import Rules, message_hash
from loadtest.simulator.script import Script
from loadtest.simulator.wire import MODEL, Answer, error_body, prompt_tokens

logger = logging.getLogger("simulator")

_BROKEN = frozenset(Fault) - {Fault.HANG, Fault.SLOW_DRIP}


class Simulator:
    def __init__(
        self,
        defaults: Behaviour,
        *,
        context_window: int,
        journal_size: int,
        keep_messages: bool = False,
        quota: Quota = NO_QUOTA,
        seed: int = 0,
    ) -> None:
        self._rules = Rules(defaults)
        self._chance = Chance(seed)
        self._limits = Limits(quota)
        self._script = Script()
        self._holds = Holds()
        self._journal = Journal(journal_size)
        self._meters = Meters(lambda: self._journal.running)
        self._context_window = context_window
        self._keep_messages = keep_messages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the simulator speaks HTTP, not {scope['type']}")
        exchange = Exchange(scope, receive, send)
        try:
            await self._route(exchange)
        except ClientGoneError:
            pass
        except BodyTooLargeError:
            await _respond_refused(
                exchange, RefusedError(f"The request body is larger than {MAX_BODY_BYTES} bytes.", status=413)
            )
        except RefusedError as refused:
            await _respond_refused(exchange, refused)
        except Exception:
            # Our own fault, not one that was asked for: said loudly, because uvicorn's voice is turned off.
            logger.exception("the simulator failed on %s %s", exchange.method, exchange.path)
            raise

    async def _route(self, exchange: Exchange) -> None:
        # Providers' base addresses differ (/v1, none, /compatible-mode/v1): any of them may be pointed here.
        match exchange.method, exchange.path:
            case "POST", path if path.endswith("/chat/completions"):
                await self._chat(exchange)
            case "GET", path if path.endswith("/models"):
                model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "simulated"}
                await exchange.respond_json(200, {"object": "list", "data": [model]})
            case "GET", "/health":
                now = datetime.now(UTC).isoformat(timespec="milliseconds")
                await exchange.respond_json(200, {"status": "healthy", "simulated": True, "timestamp": now})
            case "GET", "/journal":
                await exchange.respond_json(200, self._journal.as_json(_journal_query(exchange.query)))
            case "DELETE", "/journal":
                self._journal.clear()
                self._meters.clear()
                self._limits.clear_counts()
                await exchange.respond_json(200, self._journal.as_json(JournalQuery(limit=0)))
            case "GET", "/metrics":
                page = metrics_page(self._journal.counters(), self._meters, self._limits.refused, self._chance.seed)
                await exchange.respond(200, page, [(b"content-type", CONTENT_TYPE)])
            case "GET", "/metrics.json":
                await exchange.respond_json(200, self._metrics())
            case "GET", "/limits":
                await exchange.respond_json(200, self._limits.as_json())
            case "PUT", "/limits":
                self._limits.set(_json(await exchange.body()))
                await exchange.respond_json(200, self._limits.as_json())
            case "DELETE", "/limits":
                self._limits.reset()
                await exchange.respond_json(200, self._limits.as_json())
            case "GET", "/control":
                await exchange.respond_json(200, self._rules.control())
            case "PUT", "/control":
                self._rules.set_control(_json(await exchange.body()))
                await exchange.respond_json(200, self._rules.control())
            case "DELETE", "/control":
                self._rules.clear()
                self._chance.forget()
                await exchange.respond_json(200, self._rules.control())
            case "POST", "/release":
                await exchange.respond_json(200, self._holds.release(_json(await exchange.body())))
            case "GET", "/script":
                await exchange.respond_json(200, self._script.as_json())
            case "POST", "/script":
                self._script.add(_json(await exchange.body()))
                await exchange.respond_json(200, self._script.as_json())
            case "DELETE", "/script":
                self._script.clear()
                await exchange.respond_json(200, self._script.as_json())
            case method, path:
                raise RefusedError(f"Unknown request URL: {method} {path}.", status=404, code="unknown_url")

    async def _chat(self, exchange: Exchange) -> None:
        key = _bearer(exchange)
        entry = self._journal.open(authorized=key is not None)
        outcome = Outcome.CRASHED
        try:
            outcome = await self._answer(exchange, entry, key)
        except ClientGoneError:
            outcome = Outcome.DISCONNECTED
            raise
        except RefusedError as refused:
            outcome = Outcome.LIMITED if isinstance(refused, LimitedError) else Outcome.REFUSED
            entry.status = refused.status
            raise
        except BodyTooLargeError:
            outcome, entry.status = Outcome.REFUSED, 413
            raise
        except asyncio.CancelledError:
            outcome = Outcome.STOPPED
            raise
        finally:
            self._journal.close(entry, outcome)

    async def _answer(self, exchange: Exchange, entry: Entry, key: str | None) -> Outcome:
        body = await exchange.body()
        arrived = time.perf_counter()
        self._meters.watch()
        request = parse_request(body)
        conversation = Conversation(request.messages)
        question, step = conversation.question, conversation.step
        entry.model, entry.stream, entry.step = request.model, request.stream, step
        hashed = message_hash(question)
        entry.message, entry.message_hash = excerpt(question, key), hashed
        entry.messages, entry.tools = len(request.messages), [tool.name for tool in request.tools]
        if self._keep_messages:
            entry.asked = orjson.loads(body)["messages"]
        behaviour, scripted = self._rules.decide(question, hashed, step), self._script.take(question)
        if scripted is not None:
            behaviour = scripted.over(behaviour)

        with self._limits.place(arrived):
            drawn = self._chance.draw(behaviour, hashed, step)
            hangs = drawn.hangs or behaviour.fault is Fault.HANG
            entry.fault = Fault.HANG if hangs else behaviour.error if drawn.fails else behaviour.fault
            # Whatever holds calls back belongs here: the call is in the journal, and nothing was sent.
            await exchange.pause(None if hangs else drawn.delay)
            if drawn.fails:
                entry.status = await deliver_refusal(exchange, behaviour)
                return Outcome.FAILED
            prompt = prompt_tokens(request)
            self._check_context(prompt)

            written = scripted.reply if scripted is not None else None
            answer = Answer(request, written or reply_to(request, conversation, behaviour), behaviour, prompt)
            entry.status, entry.finish_reason = 200, answer.finish_reason
            entry.called = [call.name for call in answer.reply.calls]
            entry.prompt_tokens, entry.completion_tokens = answer.usage.prompt, answer.usage.completion
            began = time.perf_counter()
            hold = partial(self._holds.wait, exchange, question)
            timing = await deliver(exchange, answer, behaviour, drawn, stream=request.stream, hold=hold)
            self._measure(timing, drawn.delay, arrived, began)
            return Outcome.BROKEN if behaviour.fault in _BROKEN else Outcome.ANSWERED

    def _measure(self, timing: Timing, delay: float, arrived: float, began: float) -> None:
        if timing.asked is not None:
            self._meters.answered(delay + timing.asked, time.perf_counter() - arrived)
        if timing.first_asked is not None:
            self._meters.first_token(delay + timing.first_asked, began - arrived + timing.first_given)

    def _metrics(self) -> dict[str, Any]:
        return {
            "simulated": True,
            "seed": self._chance.seed,
            "counters": self._journal.counters(),
            "limits": self._limits.as_json(),
            **self._meters.as_json(),
        }

    def _check_context(self, tokens: int) -> None:
        if tokens > self._context_window:
            raise RefusedError(
                f"This model's maximum context length is {self._context_window} tokens. However, your messages "
                f"resulted in {tokens} tokens. Please reduce the length of the messages.",
                param="messages",
                code="context_length_exceeded",
            )


async def _respond_refused(exchange: Exchange, refused: RefusedError) -> None:
    await exchange.respond(
        refused.status, error_body(refused.message, refused.kind, refused.param, refused.code), [JSON, *refused.headers]
    )


def _bearer(exchange: Exchange) -> str | None:
    scheme, _, key = (exchange.header(b"authorization") or "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def _json(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise RefusedError("We could not parse the JSON body of your request.") from None


def _journal_query(query: bytes) -> JournalQuery:
    """`limit`, `since` and `match` of the journal's address; raises RefusedError for anything else."""
    read = JournalQuery()
    for name, values in parse_qs(query.decode("latin-1"), keep_blank_values=True).items():
        value = values[-1]
        if name == "match":
            read = replace(read, match=value)
        elif name == "limit" and value.isdecimal():
            read = replace(read, limit=int(value))
        elif name == "since" and value.isdecimal():
            read = replace(read, since=int(value))
        else:
            raise RefusedError(f"The journal takes limit, since and match, not {name}={value}.", param=name)
    return read
