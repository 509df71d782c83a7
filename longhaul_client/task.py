"""What the gateway tells of tasks. Durations are milliseconds, times aware, costs USD; None where nobody knows.

A field that a newer gateway adds stands in `data` until it gets a name here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, Self

from longhaul_client.errors import NotFinalError, TaskFailed

FINAL: Final = frozenset({"success", "failed", "cancelled"})

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A task that is written. `status` is `pending`, save when an Idempotency-Key found an older task."""

    task_id: str
    status: str
    created_at: datetime

    @classmethod
    def of(cls, data: Json) -> Self:
        return cls(task_id=data["task_id"], status=data["status"], created_at=moment(data["created_at"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A call of a model or a tool, or a step of the agent's own. Its texts are cut and hold no secret."""

    attempt: int
    number: int
    kind: Literal["model", "tool", "step"]
    name: str
    state: Literal["running", "done", "failed", "unfinished"]
    duration_ms: int | None
    arguments: str | None
    result: str | None
    error: str | None
    token_usage: Mapping[str, int] | None
    cost_usd: float | None

    @classmethod
    def of(cls, data: Json) -> Self:
        given: dict[str, Any] = {name: data.get(name) for name in cls.__slots__}
        return cls(**given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task as it stood when the gateway answered."""

    task_id: str
    status: Literal["pending", "running", "waiting", "success", "failed", "cancelled"]
    phase: str | None
    """`retrying` on a pending task: an attempt failed, the next one comes."""
    result: str | None
    result_json: Any
    error: str | None
    error_code: str | None
    """From docs/error-codes.md."""
    partial: str | None
    """What it has said so far, or had said when it ended without success."""
    model: str
    agent: str
    attempt: int
    """From 1; 0 before the first."""
    queue_position: int | None
    eta_s: float | None
    """Seconds until it is expected to be final."""
    duration_ms: int | None
    """The run of the last attempt."""
    queued_ms: int | None
    """The wait before that attempt."""
    token_usage: Mapping[str, int] | None
    cost_usd: float | None
    simulated: bool
    """The answer is made up by the simulator."""
    session_id: str | None
    user_id: str | None
    metadata: Mapping[str, Any]
    created_at: datetime
    completed_at: datetime | None
    steps: tuple[Step, ...]
    data: Json = field(repr=False)
    """All that the gateway answered."""

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    def answer(self) -> str:
        """The result of a task that succeeded. TaskFailed of one that did not, NotFinalError of one that goes on."""
        if not self.is_final:
            raise NotFinalError(f"Task {self.task_id} is {self.status} and has no answer yet. Wait for it.", self)
        if self.status != "success":
            raise TaskFailed(self)
        return self.result or ""

    @classmethod
    def of(cls, data: Json) -> Self:
        """KeyError, TypeError, ValueError when it is no task."""
        plain = {name: data.get(name) for name in _PLAIN}
        return cls(
            **plain,
            task_id=data["task_id"],
            status=data["status"],
            model=data["model"],
            agent=data["agent"],
            attempt=data["attempt"],
            simulated=data["simulated"],
            metadata=data["metadata"],
            created_at=moment(data["created_at"]),
            completed_at=None if data.get("completed_at") is None else moment(data["completed_at"]),
            steps=tuple(Step.of(step) for step in data["steps"]),
            data=data,
        )


_PLAIN: Final = (
    "phase",
    "result",
    "result_json",
    "error",
    "error_code",
    "partial",
    "queue_position",
    "eta_s",
    "duration_ms",
    "queued_ms",
    "token_usage",
    "cost_usd",
    "session_id",
    "user_id",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatAnswer:
    """What `chat` came to."""

    output: str
    task_id: str
    session_id: str | None
    model: str
    duration_ms: int | None
    token_usage: Mapping[str, int] | None
    cost_usd: float | None
    simulated: bool

    @classmethod
    def of(cls, data: Json) -> Self:
        return cls(**{name: data[name] for name in cls.__slots__})

    @classmethod
    def of_task(cls, task: Task) -> Self:
        """TaskFailed when it did not succeed."""
        shared = {name: getattr(task, name) for name in cls.__slots__ if name != "output"}
        return cls(output=task.answer(), **shared)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
