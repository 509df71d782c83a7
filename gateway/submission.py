"""From a body to a task in the store: the checks that need settings and registry, then one round trip."""

import difflib
import hashlib
import logging
import secrets
from collections.abc import Iterable
from typing import Annotated, Any

import orjson
from fastapi import Header
from starlette.requests import Request

from agents_config import DEFAULT_AGENT
from core_config import Settings
from monitoring import log_context, metrics
from monitoring.traces.ids import callers_trace_of, parent_of
from taskstore.errors import AgentUnavailable, NeverDue, QueueFull, StorageFull
from taskstore.records import Kind, NewTask, Submitted

from .agents import model_of, refusal
from .auth import LOCAL
from .noted import noted_of
from .output_schema import demand_schema
from .problems import invalid
from .running import Gateway, caller_of, gateway_of
from .schemas import ChatBody, ChatStreamBody, TaskBody

BODY_PROBLEMS = (
    "unauthorized",
    "forbidden_host",
    "idempotency_conflict",
    "session_busy",
    "body_too_large",
    "unsupported_media_type",
    "invalid_json",
    "invalid_request",
    "unknown_model",
    "unknown_agent",
    "queue_full",
    "store_unavailable",
    "storage_full",
    "agent_unavailable",
)
"""What a route that submits can answer."""

LONGEST_IDEMPOTENCY_KEY = 255

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=LONGEST_IDEMPOTENCY_KEY,
        pattern=r"^[\x21-\x7e]+$",
        description="The same key and body give the same task again; another body is a 409.",
    ),
]

Traceparent = Annotated[
    str | None,
    Header(
        description="W3C trace context: the task's trace is then a part of yours. What is not valid is passed over.",
    ),
]

log = logging.getLogger(__name__)


async def submit(
    request: Request,
    body: ChatBody | TaskBody,
    kind: Kind,
    idempotency_key: str | None,
    traceparent: str | None = None,
) -> Submitted:
    """Raises Problem and what `TaskStore.submit` raises."""
    gateway, caller = gateway_of(request), caller_of(request)
    typed = await _typed(body, gateway.settings) if isinstance(body, TaskBody) else {}
    if body.message is not None:
        _check_message(body.message, gateway.settings.max_message_chars)
    agent = DEFAULT_AGENT if body.agent is None else body.agent
    _check_known("agent", agent, gateway.agents, "unknown_agent")
    if typed.get("output_schema") is None:
        typed["output_schema"] = gateway.agents[agent].output_schema
    model = model_of(gateway, gateway.agents[agent]) if body.model is None else body.model
    check_model(model, gateway)
    task = NewTask(
        task_id=secrets.token_hex(16),
        caller=caller.name,
        message=body.message or "",
        model=model,
        agent=agent,
        kind=kind,
        user_id=body.user_id,
        session_id=body.session_id,
        stream=isinstance(body, ChatStreamBody) or (isinstance(body, TaskBody) and body.stream),
        on_busy=body.on_busy_session,
        # everybody is the one local caller without keys, so user_id is all that tells people apart
        share=body.user_id if caller is LOCAL else None,
        idempotency_key=idempotency_key,
        body_sha256=_fingerprint(body, kind),
        traceparent=traceparent if parent_of(traceparent) else None,
        **typed,
        **(_timing(body) if isinstance(body, TaskBody) else {}),
    )
    try:
        submitted = await gateway.store.submit(task)
    except AgentUnavailable as error:
        raise refusal(error, caller) from error
    except (QueueFull, StorageFull) as error:
        gateway.refusals.refused(error)
        raise
    except NeverDue as error:  # by Redis's clock: this machine's may be wrong
        text = "counts from now, and run_at comes later: the task could never run"
        raise invalid([{"loc": ["body", "deadline_s"], "msg": text, "type": "deadline_before_run"}]) from error
    noted_of(request.scope).model = model
    log_context.bind(task=submitted.task_id, trace=callers_trace_of(task.traceparent) if submitted.created else None)
    if submitted.created:
        gateway.refusals.taken()
        metrics.TASKS_ENQUEUED.inc()
        log.info("task_submitted", extra={"agent": agent, "model": model, "lane": kind.name.lower()})
    return submitted


def _check_message(message: str, most: int) -> None:
    if len(message) > most:
        text = f"has {len(message)} characters; {most} are the most that a message may have"
        raise invalid([{"loc": ["body", "message"], "msg": text, "type": "string_too_long"}])


def check_model(name: str, gateway: Gateway) -> None:
    """Raises Problem unless the registry has a model of that name."""
    _check_known("model", name, gateway.models.registry, "unknown_model")


async def _typed(body: TaskBody, settings: Settings) -> dict[str, Any]:
    """What a task has of work that is data. Raises Problem."""
    if (body.message is None) == (body.input is None):
        text = "give `message` or `input`, one of the two" + (
            "; this has neither" if body.input is None else ", not both"
        )
        raise invalid([{"loc": ["body"], "msg": text, "type": "message_or_input"}])
    if body.input is not None and (size := len(orjson.dumps(body.input))) > settings.max_input_bytes:
        text = f"is {size} bytes of JSON; {settings.max_input_bytes} are the most that an input may be"
        raise invalid([{"loc": ["body", "input"], "msg": text, "type": "input_too_large"}])
    if body.output_schema is not None:
        await demand_schema(body.output_schema)
    return {"input": body.input, "output_schema": body.output_schema}


def _check_known(field: str, name: str, known: Iterable[str], code: str) -> None:
    names = list(known)
    if name in names:
        return
    spelled = {known_name.lower(): known_name for known_name in names}
    near = difflib.get_close_matches(name.lower(), spelled, n=1)
    hint = f"did you mean {spelled[near[0]]!r}? " if near else ""
    text = f"there is no {field} {name!r}; {hint}known: {', '.join(names)}"
    raise invalid([{"loc": ["body", field], "msg": text, "type": code}], code)


def _timing(body: TaskBody) -> dict[str, Any]:
    deadline_ms = 0 if body.deadline_s is None else max(1, round(body.deadline_s * 1000))
    run_at_ms = 0 if body.run_at is None else max(1, round(body.run_at.timestamp() * 1000))
    if run_at_ms and body.on_busy_session != "enqueue":
        text = "is decided when the task is submitted, and run_at comes later: such a task waits for its turn (enqueue)"
        raise invalid([{"loc": ["body", "on_busy_session"], "msg": text, "type": "decided_before_run"}])
    return {
        "priority": body.priority,
        "run_at_ms": run_at_ms,
        "deadline_ms": deadline_ms,
        "metadata": body.metadata,
    }


def _fingerprint(body: ChatBody | TaskBody, kind: Kind) -> str:
    """Of what was asked, not of how it was spelled: spaces and the order of names make no other body."""
    given = body.model_dump(mode="json", exclude_unset=True)
    return hashlib.sha256(orjson.dumps([kind.value, given], option=orjson.OPT_SORT_KEYS)).hexdigest()
