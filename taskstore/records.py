"""What goes into the store and what comes out of it: plain, frozen values."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

import orjson

from .agents import AgentReport
from .states import Status

RECORD_VERSION = 1
NO_SESSION = frozenset({"", "default"})
OnBusy = Literal["enqueue", "reject", "interrupt"]


class Kind(StrEnum):
    """Which of a model's two lanes a task waits in."""

    INTERACTIVE = "i"
    """Somebody is waiting on the line: goes first, and may use a worker's extra slots."""
    BATCH = "b"


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of every model call, summed."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> "TokenUsage":
        return cls(**{name: int(counts.get(name, 0)) for name in cls.__slots__})

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """What the gateway hands to `submit`. The gateway makes the id, so that a lost reply can be asked for again."""

    task_id: str
    caller: str
    message: str
    """Empty when `input` is given."""
    model: str
    input: Mapping[str, Any] | None = None
    output_schema: Mapping[str, Any] | None = None
    agent: str = "default"
    kind: Kind = Kind.BATCH
    user_id: str | None = None
    session_id: str | None = None
    on_busy: OnBusy = "enqueue"
    """When another task has its session: wait for its turn, be refused, or end that one and go first."""
    priority: int = 5
    """1 to 9; each step doubles the share of the worker's time among one caller's tasks."""
    share: str | None = None
    """Who the fair order counts it for; the caller unless given."""
    run_at_ms: int = 0
    deadline_ms: int = 0
    """Milliseconds from the submit after which it fails; 0 is none."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    stream: bool = False
    """Its models' words go into its stream as they come, which costs the worker more."""
    idempotency_key: str | None = None
    body_sha256: str = ""
    traceparent: str | None = None
    """The caller's W3C trace context, if it sent a valid one: the task's trace is then a part of the caller's."""

    @property
    def session(self) -> str:
        """The session's key under its caller: a hash of user_id and session_id, so that no two pairs meet."""
        return session_key(self.user_id, self.session_id)


def json_text(value: Any) -> str:
    """A JSON value as the record keeps it and people read it. Raises what json.dumps raises."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def session_key(user_id: str | None, session_id: str | None) -> str:
    if session_id is None or session_id.strip() in NO_SESSION:
        return ""
    return hashlib.sha256(orjson.dumps([user_id, session_id])).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    task_id: str
    status: Status
    created_at: datetime
    created: bool
    """False when the id or the idempotency key was submitted before: the answer is then that task's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """A task as it stands. Times are UTC; durations are milliseconds."""

    task_id: str
    caller: str
    status: Status
    index: str
    """Where it stands: `ready:{lane}`, `scheduled`, `blocked:{session}`, `leases:{lane}`, `waiting`; '' when final."""
    message: str
    """In a list its beginning, and of a task with an `input` that one's JSON text."""
    input: Mapping[str, Any] | None
    output_schema: Mapping[str, Any] | None
    model: str
    agent: str
    kind: Kind
    priority: int
    user_id: str | None
    session_id: str | None
    metadata: Mapping[str, Any]
    created_at: datetime
    run_at: datetime | None
    queued_at: datetime | None
    """When its wait for a worker begins or began: the submit, `run_at`, or the end of a retry's delay."""
    deadline_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    cancel_requested_at: datetime | None
    interrupted_by: str | None
    """The task of its session that asked for that cancel; None when nobody did, or somebody else."""
    queued_ms: int | None
    duration_ms: int | None
    attempt: int
    retries: int
    crashes: int
    fence: int
    worker: str | None
    cause: str | None
    """Why it is where it is: `worker_lost`, `lost_claim`, an error code, ..."""
    result: str | None
    result_json: Any
    """The result as a JSON value; None when it is none."""
    partial: str | None
    error: str | None
    error_code: str | None
    usage: TokenUsage | None
    cost_usd: float | None
    """None when any model call's price is unknown."""
    answered_by: str | None
    simulated: bool
    steps: int
    """Beginnings and ends of model and tool calls that its stream holds."""
    steps_dropped: int
    """Those that it does not hold, for being too many or too large, or because Redis was away for long."""
    dead_until: datetime | None
    """When a dead letter is forgotten; None of every other task."""
    queue_position: int | None
    """How many tasks of its lane come first; None unless it is ready."""
    traceparent: str | None = None
    """As in NewTask."""

    @property
    def asked(self) -> str:
        """What the task is to work on, for people to read."""
        return self.message if self.input is None else json_text(self.input)

    @property
    def is_final(self) -> bool:
        return self.status.is_final

    @classmethod
    def of(cls, task_id: str, fields: Mapping[str, str], position: int | None) -> "TaskRecord":
        usage = fields.get("usage")
        cost = None
        if usage is not None and fields.get("unpriced", "0") == "0":
            cost = int(fields.get("cost_nusd", "0")) / 1e9
        return cls(
            task_id=task_id,
            caller=fields["caller"],
            status=Status(fields["status"]),
            index=fields.get("at", ""),
            message=fields["message"],
            input=_json(fields.get("input")),
            output_schema=_json(fields.get("output_schema")),
            model=fields["model"],
            agent=fields["agent"],
            kind=Kind(fields["kind"]),
            priority=int(fields["priority"]),
            user_id=fields.get("user_id"),
            session_id=fields.get("session_id"),
            metadata=orjson.loads(fields.get("metadata", "{}")),
            created_at=_required_time(fields["created_at"]),
            run_at=_time(fields.get("run_at")),
            queued_at=_time(fields.get("queued_at")),
            deadline_at=_time(fields.get("deadline_at")),
            started_at=_time(fields.get("started_at")),
            completed_at=_time(fields.get("completed_at")),
            cancel_requested_at=_time(fields.get("cancel_at")),
            interrupted_by=fields.get("interrupted_by"),
            queued_ms=_number(fields.get("queued_ms")),
            duration_ms=_number(fields.get("duration_ms")),
            attempt=int(fields["attempt"]),
            retries=int(fields["retries"]),
            crashes=int(fields["crashes"]),
            fence=int(fields["fence"]),
            worker=fields.get("worker") or None,
            cause=fields.get("cause") or None,
            result=fields.get("result"),
            result_json=_json(fields.get("result_json")),
            partial=fields.get("partial"),
            error=fields.get("error"),
            error_code=fields.get("error_code"),
            usage=None if usage is None else TokenUsage.of(orjson.loads(usage)),
            cost_usd=cost,
            answered_by=fields.get("answered_by"),
            simulated=fields.get("simulated") == "1",
            steps=int(fields.get("steps", "0")),
            steps_dropped=int(fields.get("steps_dropped", "0")),
            dead_until=_time(fields.get("dead_until")),
            queue_position=position,
            traceparent=fields.get("traceparent"),
        )


def _required_time(ms: str) -> datetime:
    return datetime.fromtimestamp(int(ms) / 1000, UTC)


def _time(ms: str | None) -> datetime | None:
    return None if ms in (None, "", "0") else _required_time(str(ms))


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _number(text: str | None) -> int | None:
    return None if text in (None, "") else int(str(text))


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    id: str
    host: str
    pid: int
    version: str
    slots: int
    last_seen_ms: int
    """How long ago it was heard of, milliseconds."""
    quarantine: bool = False
    """It takes quarantined tasks only, and leaves when there are none."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The queue at one moment, counted in one script."""

    queued: int
    running: int
    scheduled: int
    blocked: int
    waiting: int
    dead: int
    workers: Sequence[WorkerInfo]
    agents: Mapping[str, AgentReport]
    """By name; empty before any worker has started."""
    paused: Sequence["Paused"] = ()
    cooling: Sequence["Cooling"] = ()


@dataclass(frozen=True, slots=True)
class Paused:
    kind: Literal["model", "agent"]
    name: str
    for_ms: int
    """How long it has been."""


@dataclass(frozen=True, slots=True)
class Cooling:
    """A model that failed and is left alone."""

    model: str
    left_ms: int
    """0 once its time is over: then one task at a time tries it, until a call succeeds."""
    error_code: str


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one name spent on one UTC day."""

    day: str
    name: str
    tasks: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cost_usd: float | None
    """Of the priced attempts; None when there was none."""
    unpriced: int
    """Attempts whose price is unknown."""
