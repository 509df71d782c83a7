"""Durable steps, as the agent sees them: a place where what was done is kept, and from which another attempt goes on.

The worker gives a run one (worker/checkpoints.py); here nobody knows where it is kept.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # it loads in a quarter of a second, and not everyone who names a task's work runs it
    from langgraph.checkpoint.base import BaseCheckpointSaver


@dataclass(frozen=True, slots=True)
class Earlier:
    """What earlier attempts got done."""

    model_calls: int = 0
    """Those that were answered."""
    steps: int = 0
    """The highest step number."""


class ToolLedger(Protocol):
    """Which tool calls of the step at hand have begun and finished, in whatever attempt."""

    def outcome(self, call: str) -> Any | None:
        """What the call ended with; None when it has not."""

    def begun(self, call: str) -> bool:
        """Whether an attempt has entered the call and not left it."""

    async def begin(self, call: str) -> None:
        """Returns once it is kept that the call begins."""

    async def finish(self, call: str, outcome: Any) -> None:
        """Keeps the outcome; of a call whose beginning is kept, returns once it is."""


class Durable(Protocol):
    """One attempt's. Its writes end with the attempt's lease: they raise, and the attempt is stopped."""

    ledger: ToolLedger

    @property
    def saver(self) -> "BaseCheckpointSaver[Any]":
        """A graph's checkpointer."""

    async def open(self) -> Earlier:
        """What earlier attempts left, read the first time."""
