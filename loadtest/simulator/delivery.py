"""Sends an answer the way the behaviour wants it: at its pace, or broken in its way."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from loadtest.simulator.behaviour import Behaviour, Fault
from loadtest.simulator.chance import Drawn
from loadtest.simulator.exchange import JSON, Exchange, Headers
from loadtest.simulator.provider_errors import PROVIDER_ERRORS
from loadtest.simulator.wire import Answer, error_body

_SSE: Headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
_KINDS = {
    401: ("authentication_error", "invalid_api_key"),
    403: ("permission_error", None),
    404: ("invalid_request_error", "model_not_found"),
    408: ("timeout_error", None),
    429: ("requests", "rate_limit_exceeded"),
}
_NOT_JSON = b'{"id": "chatcmpl-sim", "choices": [{"index": 0, "delta": {"content": "'
_CUT_OFF = (Fault.HALF, Fault.BROKEN_STREAM, Fault.EARLY_END, Fault.STALL)


async def deliver_refusal(exchange: Exchange, behaviour: Behaviour) -> int:
    """Answers with the error that the behaviour names, a provider's own before a plain status; returns the status."""
    if behaviour.error is not None:
        error = PROVIDER_ERRORS[behaviour.error]
        headers = list(error.headers)
        if not any(name == b"content-type" for name, _ in headers):
            headers.append(JSON)
        status, body = error.status, error.body
    else:
        headers, status = [JSON], behaviour.status or 500
        kind, code = _KINDS.get(status, ("server_error" if status >= 500 else "invalid_request_error", None))
        body = error_body(f"Simulated error {status}, on demand.", kind, code=code)
    if behaviour.retry_after is not None:
        headers = [(name, value) for name, value in headers if name not in {b"retry-after", b"retry-after-ms"}]
        headers.append((b"retry-after", f"{behaviour.retry_after:g}".encode()))
    await exchange.respond(status, body, headers)
    return status


Hold = Callable[[], Awaitable[None]]
"""Returns when a stream that is held may go on."""


@dataclass(slots=True)
class Timing:
    """Seconds from the beginning of an answer: what was asked for, None where nothing can be said of it, and when the
    first token of a stream went.
    """

    asked: float | None = None
    first_asked: float | None = None
    first_given: float = 0.0


async def deliver(
    exchange: Exchange, answer: Answer, behaviour: Behaviour, drawn: Drawn, *, stream: bool, hold: Hold
) -> Timing:
    """Sends the answer; raises ClientGoneError when the client leaves before the end."""
    if behaviour.fault is Fault.ERROR_BODY:
        await exchange.respond(200, error_body("Simulated error under status 200.", "server_error", code="500"))
        return Timing()
    if stream:
        return await _deliver_stream(exchange, answer, behaviour, drawn, hold)
    return await _deliver_whole(exchange, answer, behaviour, drawn)


async def _deliver_whole(exchange: Exchange, answer: Answer, behaviour: Behaviour, drawn: Drawn) -> Timing:
    rate = behaviour.tokens_per_second
    asked = drawn.first_token + (answer.usage.completion / rate if rate else 0)
    await exchange.pause(asked)
    body = answer.body()
    fault = behaviour.fault
    if fault is Fault.BROKEN_JSON:
        await exchange.respond(200, body[: len(body) // 2])
        return Timing(asked)
    if fault is not Fault.SLOW_DRIP and fault not in _CUT_OFF:
        await exchange.respond(200, body)
        return Timing(asked)
    await exchange.start(200, [JSON, (b"content-length", str(len(body)).encode())])
    if fault is Fault.SLOW_DRIP:
        await _drip(exchange, body, behaviour.drip)
        await exchange.finish()
        return Timing()
    await exchange.write(body[: len(body) // 2])
    if fault is Fault.STALL:
        await exchange.pause(None)
    return Timing()


async def _deliver_stream(exchange: Exchange, answer: Answer, behaviour: Behaviour, drawn: Drawn, hold: Hold) -> Timing:
    content, closing = answer.events()
    fault, rate, timing = behaviour.fault, behaviour.tokens_per_second, Timing()
    await exchange.start(200, _SSE)
    if fault is Fault.SLOW_DRIP:
        await _drip(exchange, b"".join(content + closing), behaviour.drip)
        await exchange.finish()
    elif fault in _CUT_OFF:
        await _paced(exchange, content[: len(content) // 2 + 1], drawn.first_token, rate)
        if fault is Fault.HALF:
            await exchange.write(closing[0][: len(closing[0]) // 2])
        elif fault is Fault.EARLY_END:
            await exchange.finish()
        elif fault is Fault.STALL:
            await exchange.pause(None)
    elif fault is Fault.BROKEN_JSON:
        half = len(content) // 2 + 1
        events = [*content[:half], b"data: " + _NOT_JSON + b"\n\n", *content[half:]]
        await _paced(exchange, events, drawn.first_token, rate)
        await exchange.finish(b"".join(closing))
    elif behaviour.hold_token or behaviour.hold_each:
        await _held(exchange, content, behaviour, drawn, hold)
        await exchange.finish(b"".join(closing))
    elif drawn.first_token or rate:
        began = time.perf_counter()
        timing.first_given = await _paced(exchange, content, drawn.first_token, rate) - began
        await exchange.finish(b"".join(closing))
        timing.first_asked = drawn.first_token
        timing.asked = drawn.first_token + (max(0, len(content) - 2) / rate if rate else 0)
    else:
        await exchange.finish(b"".join(content + closing))
        timing.asked = 0.0
    return timing


async def _held(exchange: Exchange, events: list[bytes], behaviour: Behaviour, drawn: Drawn, hold: Hold) -> None:
    """The first event says who speaks, so the token of a number is the event at that place."""
    rate = behaviour.tokens_per_second
    if behaviour.hold_each:
        await _paced(exchange, events[:2], drawn.first_token, rate)
        for event in events[2:]:
            await hold()
            await exchange.write(event)
        return
    at = behaviour.hold_token or 1
    await _paced(exchange, events[:at], drawn.first_token, rate)
    if at < len(events):
        await hold()
        await _paced(exchange, events[at:], 0.0, rate)


async def _paced(exchange: Exchange, events: list[bytes], first_token: float, rate: float) -> float:
    """One event a token at the set pace; what is overdue goes together, so a busy process keeps the pace. Returns when
    the first token went.
    """
    clock = time.perf_counter
    if not events:
        return clock()
    await exchange.write(events[0])
    await exchange.pause(first_token)
    began = clock()
    if not rate:
        await exchange.write(b"".join(events[1:]))
        return began
    sent = 1
    while sent < len(events):
        await exchange.pause(began + (sent - 1) / rate - clock())
        due = max(sent + 1, min(len(events), 2 + int((clock() - began) * rate)))
        await exchange.write(b"".join(events[sent:due]))
        sent = due
    return began


async def _drip(exchange: Exchange, body: bytes, interval: float) -> None:
    clock = time.perf_counter
    began = clock()
    for index in range(len(body)):
        await exchange.write(body[index : index + 1])
        # by the clock and not by the pause: uvloop counts whole milliseconds, and makes none of half of one
        await exchange.pause(began + (index + 1) * interval - clock())
