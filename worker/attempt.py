"""One attempt at one task: the claim, its time, and why it was told to stop."""

from collections.abc import Callable
from enum import StrEnum

from monitoring.traces.trace import NOT_TRACED, Trace
from taskstore.claims import Claim

from .steps import StepLog


class Stop(StrEnum):
    """Why an attempt was ended from outside. A field, set by whoever stops it: never guessed from CancelledError."""

    TIMEOUT = "timeout"
    """It ran for ATTEMPT_TIMEOUT_SECONDS."""
    DEADLINE = "deadline"
    """Its task's deadline passed."""
    CANCEL = "cancel"
    """Somebody asked for the task's cancel."""
    LOST = "lost"
    """Its lease is gone: another worker may run the task, and this one writes nothing more."""
    DRAIN = "drain"
    """The worker is stopping: the task goes back to the queue unspent."""


def _nothing() -> None:
    pass


class Attempt:
    """The first reason to stop counts, save that a lost lease outweighs all."""

    def __init__(self, claim: Claim, timeout_s: float, steps: StepLog) -> None:
        self.claim = claim
        self.steps = steps
        self.trace: Trace = NOT_TRACED
        self.name = attempt_name(claim.task_id, claim.fence)
        left_s = float("inf") if claim.left_ms is None else claim.left_ms / 1000
        self.timeout_s = min(timeout_s, left_s)
        self.timeout_means = Stop.DEADLINE if left_s < timeout_s else Stop.TIMEOUT
        self._stopped: Stop | None = None
        self.on_stop: Callable[[], None] = _nothing
        """Called each time that it is told to stop."""

    def stop(self, why: Stop) -> None:
        """Asks the attempt to end; harmless when it has."""
        if self._stopped is None or why is Stop.LOST:
            self._stopped = why
        self.on_stop()

    def stopped(self) -> Stop | None:
        """Why it was told to stop; None while it was not."""
        return self._stopped


def attempt_name(task_id: str, fence: int) -> str:
    """What tells an attempt from every other, also from a later one at the same task."""
    return f"{task_id}:{fence}"
