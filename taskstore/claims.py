"""What a worker gets with a claim, and what it hands back: the two ends of one attempt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import orjson

from .progress import priced
from .records import Kind, TokenUsage
from .states import Status
from .steps import StepBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One task as a worker gets it: all that a run needs, in one answer. `fence` is the token of every write."""

    task_id: str
    fence: int
    attempt: int
    crashes: int
    retries: int
    caller: str
    model: str
    agent: str
    kind: Kind
    message: str
    user_id: str | None
    session_id: str | None
    metadata: Mapping[str, Any]
    left_ms: int | None
    """Milliseconds until its deadline; a duration, so that no two machines' clocks are compared."""
    history: Sequence["Turn"] = ()
    kept: bool = False
    """Earlier attempts left progress: `TaskStore.progress` reads it."""
    input: Mapping[str, Any] | None = None
    output_schema: Mapping[str, Any] | None = None
    stream: bool = False
    """Somebody wants to read the models' words as they come."""
    avoid: Sequence[str] = ()
    """Models of its chain that cool down: not to be called in this run."""
    queued_ms: int = 0
    """How long it has been ready to run, and did not."""
    age_ms: int = 0
    """From its submit, or its last replay, to this claim."""
    replays: int = 0
    traceparent: str | None = None
    """As in NewTask."""
    lost: "LostAttempt | None" = None
    """The attempt before this one, if its worker died with it."""


@dataclass(frozen=True, slots=True)
class LostAttempt:
    """What is known of an attempt that nobody could settle. Times are milliseconds before the claim that tells it."""

    fence: int
    attempt: int
    began_ms: int
    ended_ms: int
    worker: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One finished exchange of a session."""

    message: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRules:
    """What decides, besides a number of tasks at once, whether tasks of a model are started."""

    rpm: int | None = None
    """Requests a minute, over all workers."""
    cooldown: bool = True
    """Whether it is left alone for a time when it fails."""
    fallbacks: Sequence[str] = ()
    """Where its tasks are started instead while it cools down: the first that may be called."""


QuarantinePart = Literal["leave", "offer", "only"]
"""What a claim has to do with quarantined tasks: it leaves them alone; it does, but the worker would attend to them if
asked to (`Claimed.attend`); or it takes nothing else, for a quarantine worker.
"""


@dataclass(frozen=True, slots=True)
class Claimed:
    tasks: Sequence[Claim]
    next_due_ms: int | None
    """Milliseconds until a scheduled task is due, or tasks may be started that a model's rate or cooldown holds up;
    None when time alone changes nothing.
    """
    more: bool
    """Tasks that this claim could have taken were left, for want of room in one answer, or may have stood behind those
    that it dropped: claim again while there is room.
    """
    attend: bool = False
    """Quarantined tasks stand ready, and this worker is to start a quarantine worker for them."""


SettleKind = Literal["success", "fail", "cancelled", "retry", "bury", "release", "suspend"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What becomes of a running task, and what its attempt spent."""

    task_id: str
    fence: int
    kind: SettleKind
    result: str | None = None
    result_json: str | None = None
    """The result as JSON text, of a run that ended with data."""
    partial: str | None = None
    error: str | None = None
    error_code: str | None = None
    cause: str | None = None
    delay_ms: int = 0
    decide_within_ms: int = 0
    answered_by: str | None = None
    simulated: bool = False
    fault: str | None = None
    """Error code that its model's gate has to learn of, when no step told it."""
    retry_after_ms: int | None = None
    usage: TokenUsage | None = None
    """None when the attempt called no model."""
    cost_usd: float | None = None
    """Of this attempt; None with a `usage` means that the price is unknown."""
    steps: StepBatch | None = None
    """Those that were not written yet come along; they are written before the outcome."""

    def as_json(self) -> bytes:
        """The script's argument. Money travels as whole billionths of a dollar: sums of floats would drift."""
        data: dict[str, Any] = {
            name: _storable(getattr(self, name))
            for name in ("result", "result_json", "partial", "error", "error_code", "cause", "answered_by", "fault")
            if getattr(self, name) is not None
        }
        data["delay_ms"] = self.delay_ms
        data["decide_ms"] = self.decide_within_ms
        data["simulated"] = self.simulated
        if self.retry_after_ms is not None:
            data["retry_after_ms"] = self.retry_after_ms
        if self.usage is not None:
            data |= priced(self.usage, self.cost_usd)
        if self.steps is not None:
            data["steps"] = self.steps.as_data()
        return orjson.dumps(data)


class Settled(str):
    """What became of a settlement: `ok`, or `lease_lost`, and then nothing was written."""

    __slots__ = ("cancelled_after_ms", "status")

    status: Status | None
    """The task's from here on, which is not always what was asked for: the last retry is a failure. None: lost."""
    cancelled_after_ms: int | None
    """Of a task that ended because its cancel was requested: how long after that, by Redis's clock."""

    @classmethod
    def of(cls, answer: str) -> Self:
        word, status, after_ms = (*answer.split(" "), "", "")[:3]
        settled = cls(word)
        settled.status = Status(status) if status else None
        settled.cancelled_after_ms = int(after_ms) if after_ms else None
        return settled


def _storable(text: str) -> str:
    """The text without unpaired surrogates: a model's JSON may hold them (half an emoji), UTF-8 cannot."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
