"""The run that the current code belongs to: how the edges of model and tool calls find its meter.

A context variable, because agents are built once and shared by all runs, and because it follows every asyncio task
and tool thread of the run, whatever LangChain puts between.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from agent.durable import ToolLedger
from agent.meter import Meter, TokenUsage

if TYPE_CHECKING:
    from agent.context import AgentContext
    from agent.errors import AgentError

logger = logging.getLogger(__name__)

MAX_STEP_TEXT = 2000
"""Characters of a step's arguments or result; the rest is cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEvent:
    """A model or tool call or a step of the agent's own begins or ends. What belongs to the end is None before."""

    kind: Literal["model", "tool", "step"]
    phase: Literal["start", "end"]
    number: int
    """Counts the steps from 1, on from those of an earlier attempt if its run goes on; the same at start and end."""
    name: str
    """The model's registry key, the tool's name, or what the agent's code calls its step."""
    arguments: str | None = None
    """As JSON, cut to MAX_STEP_TEXT."""
    result: str | None = None
    """The answer's text or the tool's result, cut to MAX_STEP_TEXT."""
    error: str | None = None
    """A model call's error code, or what the model was told of a tool's failure."""
    duration_ms: float | None = None
    retry_after: float | None = None
    """Seconds that the provider of a model call which failed asked to wait."""
    usage: TokenUsage | None = None
    cost_usd: float | None = None


StepListener = Callable[[StepEvent], None]
"""Called in the event loop, at every start and end: it must be quick and must not wait."""

TokenKind = Literal["text", "reasoning"]
TokenListener = Callable[[int, TokenKind, str], None]
"""Called in the event loop with a model call's step number and each piece of what it says, between its start and its
end. A step that ends with an error takes its words back.
"""


@dataclass(slots=True)
class Run:
    """The state of one run that its calls share."""

    meter: Meter = field(default_factory=Meter)
    on_step: StepListener | None = None
    on_token: TokenListener | None = None
    """Who reads the model's words as they come; None: it is not streamed."""
    call_limit: int | None = None
    """Model calls that the task may make."""
    allowed: frozenset[str] | None = None
    """Names of the tools that the run's agent may call. None: whatever it has."""
    context: "AgentContext | None" = None
    """What the agent's own code is given."""
    model_calls: int = 0
    """Those made: also by earlier attempts, if they were answered and the run goes on from there."""
    failed_models: "dict[str, AgentError]" = field(default_factory=dict)
    """Models that failed in this run and how: each is passed over as long as another is left."""
    steps: int = 0
    ledger: ToolLedger | None = None
    """Where finished tool calls are kept; None keeps none."""
    counts: Counter[str] = field(default_factory=Counter)

    def next_step(self) -> int:
        self.steps += 1
        return self.steps

    def nth(self, call: str) -> int:
        """How many times the run makes this call, now included."""
        self.counts[call] += 1
        return self.counts[call]

    def tell(self, event: StepEvent) -> None:
        """Hands the event on. A listener that raises costs the run nothing but a line in the log."""
        if self.on_step is None:
            return
        try:
            self.on_step(event)
        except Exception:
            logger.exception("step_listener_failed")

    def tell_token(self, number: int, kind: TokenKind, text: str) -> None:
        """Hands a piece of a model call's words on, as `tell` does an event."""
        if self.on_token is None:
            return
        try:
            self.on_token(number, kind, text)
        except Exception:
            logger.exception("token_listener_failed")


CURRENT_RUN: ContextVar[Run] = ContextVar("longhaul_current_run")


def current_run() -> Run:
    """The run, or a fresh one for code that is called outside of any: nobody reads that one's meter."""
    return CURRENT_RUN.get(None) or Run()


def is_cancelled() -> bool:
    """Whether somebody cancelled this task: a CancelledError may also be the call's own, and is then a failure."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def cut(text: str) -> str:
    return text if len(text) <= MAX_STEP_TEXT else text[: MAX_STEP_TEXT - 1] + "…"
