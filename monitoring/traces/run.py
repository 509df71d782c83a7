"""Langfuse's handler of one run: a span for each model and tool call, and for each step of the graph. Importing it
loads Langfuse.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from langchain_core.outputs import ChatGeneration, LLMResult
from langfuse.langchain import CallbackHandler
from opentelemetry.trace import Span

from agent.errors import AgentError

from .provider import chosen_ids


class TracedRun(CallbackHandler):
    """Adds what only Longhaul knows: the registry's name of a model, what a call cost by it, and a failure's code."""

    run_inline = True
    """In the run's own context: the spans of what it calls find their parent there, and no callback takes a thread."""

    def __init__(self, public_key: str | None, ids: tuple[int, int]) -> None:
        """`ids` are those of the trace and of the run's outermost span: should the worker die, the next one sends a
        span in its place, so that what was sent from inside it hangs under something.
        """
        super().__init__(public_key=public_key)
        self._ids: tuple[int, int] | None = ids

    def on_chain_start(self, *args: Any, parent_run_id: UUID | None = None, **kwargs: Any) -> Any:
        if parent_run_id is not None or self._ids is None:
            return super().on_chain_start(*args, parent_run_id=parent_run_id, **kwargs)
        ids, self._ids = self._ids, None
        with chosen_ids(*ids):
            return super().on_chain_start(*args, parent_run_id=parent_run_id, **kwargs)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> Any:
        if known := _known(response):
            self._note(run_id, "longhaul.model", known["registry_key"])
            if known["cost_usd"] is not None and (generation := self._runs.get(run_id)):
                generation.update(cost_details={"total": known["cost_usd"]})
        return super().on_llm_end(response, run_id=run_id, **kwargs)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> Any:
        code = error.code if isinstance(error, AgentError) else type(error).__name__
        self._note(run_id, "longhaul.error_code", str(code))
        return super().on_llm_error(error, run_id=run_id, **kwargs)

    def span_of(self, run_id: UUID) -> Span | None:
        """Of a call that is under way."""
        observation = self._runs.get(run_id)
        return None if observation is None else observation._otel_span  # noqa: SLF001  Langfuse has no way to it of its own

    def close(self) -> None:
        """Ends what the run has left open, which is what a run does that ignores its cancellation."""
        for run_id in reversed(list(self._runs)):
            observation = self._detach_observation(run_id)
            if observation is not None:
                observation.update(level="ERROR", status_message="The attempt ended without it.").end()

    def _note(self, run_id: UUID, name: str, value: str) -> None:
        if span := self.span_of(run_id):
            span.set_attribute(name, value)


def _known(response: LLMResult) -> Mapping[str, Any] | None:
    generation = response.generations[-1][-1]
    if not isinstance(generation, ChatGeneration):
        return None
    known: Mapping[str, Any] | None = generation.message.response_metadata.get("longhaul")
    return known
