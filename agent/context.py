"""What an agent's own code uses: a plain function is given an AgentContext, a graph's nodes and tools ask for it.

    from agent.context import AgentContext, RefusedError, TryAgainError, current_context

The only module of Longhaul that agents need; docs/agents.md explains it.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from agent.errors import RefusedError, TryAgainError
from agent.run_context import Run, StepEvent, current_run, cut
from agent.work import AgentWork, Turn

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from langchain_core.tools import StructuredTool

    from agent.models import RegistryModel

__all__ = ["AgentContext", "OwnStep", "RefusedError", "TaskInfo", "TryAgainError", "Turn", "current_context"]

MAX_STEP_NAME = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInfo:
    """The task that is run."""

    id: str
    user_id: str | None
    session_id: str | None
    metadata: Mapping[str, Any]
    """The client's own."""
    history: tuple[Turn, ...]
    """The session's earlier messages, oldest first; each has `role` (`user` or `assistant`) and `text`."""
    message: str
    """Empty when `input` is given."""
    input: Mapping[str, Any] | None
    agent: str
    model: str
    """Registry key."""


class OwnStep:
    """A step of the agent's own while it runs; what is set as `result` is shown when it ends."""

    result: Any = None


class AgentContext:
    """One run. Attributes: `task`; `tools`, the agent's tools by name, called with `await tool.ainvoke({...})`; and
    `chat_model`, the task's model as a LangChain chat model, for all that `model` is too small for.
    """

    def __init__(
        self, work: AgentWork, run: Run, chat_model: "RegistryModel", tools: "Mapping[str, StructuredTool]"
    ) -> None:
        self.task = TaskInfo(
            id=work.task_id,
            user_id=work.user_id,
            session_id=work.session_id,
            metadata={key: value for key, value in work.metadata.items() if not key.startswith("langfuse_")},
            history=work.history,
            message=work.message,
            input=work.input,
            agent=work.agent,
            model=work.model,
        )
        self.chat_model = chat_model
        self.tools = tools
        self.deadline = float("inf") if work.seconds_left is None else time.monotonic() + work.seconds_left
        """When the attempt ends, by `time.monotonic()`."""
        self._run = run
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()

    @property
    def seconds_left(self) -> float:
        """Until the attempt's time limit or the task's deadline, whichever comes first; never below 0."""
        return max(0.0, self.deadline - time.monotonic())

    @property
    def cancelled(self) -> bool:
        """Whether the attempt was told to stop: a cancel, its time limit, a worker that drains. Asynchronous code need
        not ask: its next `await` raises CancelledError. Work in a thread should.
        """
        return self._task is not None and (self._task.done() or self._task.cancelling() > 0)

    async def model(self, prompt: "str | Sequence[BaseMessage]", *, system: str | None = None) -> str:
        """The text that the task's model answers with. One call: metered, limited and a step of the task, as any.

        Raises AgentError as model calls do; leave it to the queue, which knows whether to try again.
        """
        from langchain_core.messages import HumanMessage, SystemMessage  # noqa: PLC0415  tools need no LangChain

        from agent.final_text import final_text  # noqa: PLC0415

        messages: list[BaseMessage] = [HumanMessage(prompt)] if isinstance(prompt, str) else list(prompt)
        if system is not None:
            messages.insert(0, SystemMessage(system))
        return final_text(await self.chat_model.ainvoke(messages), self.task.model)

    def emit(self, name: str, result: Any = None, *, arguments: Any = None) -> None:
        """Shows a step that took no time among the task's steps. Values that are no text are written as JSON."""
        with self.step(name, arguments=arguments) as step:
            step.result = result

    @contextmanager
    def step(self, name: str, *, arguments: Any = None) -> Iterator[OwnStep]:
        """Shows what the block does as a step, with its duration; an exception makes it a failed one and goes on."""
        event = StepEvent(kind="step", phase="start", number=0, name=name[:MAX_STEP_NAME], arguments=_text(arguments))
        numbers: list[int] = []
        self._in_loop(lambda: self._begin(event, numbers))
        step, began, error = OwnStep(), time.monotonic(), None
        try:
            yield step
        except BaseException as raised:
            error = type(raised).__name__  # its text may hold what no client should read
            raise
        finally:
            took = (time.monotonic() - began) * 1000
            end = replace(event, phase="end", result=_text(step.result), error=error, duration_ms=took)
            self._in_loop(lambda: self._run.tell(replace(end, number=numbers[0])))

    def _begin(self, event: StepEvent, numbers: list[int]) -> None:
        numbers.append(self._run.next_step())
        self._run.tell(replace(event, number=numbers[0]))

    def _in_loop(self, tell: Callable[[], None]) -> None:
        """At once in the event loop; from another thread, a moment later and in order."""
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is self._loop:
            tell()
        else:
            self._loop.call_soon_threadsafe(tell)


def current_context() -> AgentContext:
    """The context of the run that this code belongs to, in a graph's node or in a tool. Raises RuntimeError outside."""
    context = current_run().context
    if context is None:
        raise RuntimeError("there is no current_context() outside of a task's run")
    return context


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return cut(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))
