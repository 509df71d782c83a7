"""What the worker does with an attempt's trace. This one is of an attempt that is not traced: it costs nothing."""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agent.run_context import StepListener
from taskstore.claims import Settlement
from taskstore.states import Status

if TYPE_CHECKING:
    from langchain_core.callbacks import BaseCallbackHandler


class Trace:
    def callbacks(self) -> "Sequence[BaseCallbackHandler]":
        """For the run, and for no other: a handler keeps the state of what it watches."""
        return ()

    def within(self) -> contextlib.AbstractContextManager[object]:
        """What is traced in this context, in whatever library, belongs to the attempt."""
        return contextlib.nullcontext()

    def steps(self, listener: StepListener) -> StepListener:
        """A listener that also traces the steps that the agent's own code tells of."""
        return listener

    def end(self, settlement: Settlement | None, status: Status | None) -> None:
        """The attempt is over, and the task has that status from here on; None: its lease was lost. Raises nothing."""


NOT_TRACED = Trace()
