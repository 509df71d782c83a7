"""The spans of one run of an agent: each model, tool and retriever call, and each step of its graph. Importing it loads
OpenTelemetry.

Langfuse's own handler writes the graph's whole state into the span of every step, before and after, which costs more
than all the rest of a trace. Here contents stand where they arise: at calls, and at a step that made none.
"""

from collections.abc import Mapping, Sequence
from contextvars import Token
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langgraph.errors import GraphBubbleUp
from opentelemetry import context
from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode, Tracer

from agent.errors import AgentError

from . import names
from .messages import answer_of, json_of, prompt_of
from .provider import chosen_ids

HIDDEN = "langsmith:hidden"
"""LangChain's tag of its own plumbing."""
OF_LIBRARIES = ("ls_", "lc_", "langgraph_", "checkpoint", "thread_id", "__")
"""How metadata begin that are not the task's."""
PARAMETERS = ("temperature", "max_tokens", "max_completion_tokens", "top_p", "frequency_penalty", "presence_penalty")


@dataclass(slots=True)
class _Call:
    """A call or a step that is under way. What is hidden has no span of its own but that of what it is in."""

    span: Span | None
    parent: "_Call | None"
    is_hidden: bool = False
    made_calls: bool = False
    has_token: bool = False
    entered: Token[Context] | None = None


class TracedRun(BaseCallbackHandler):
    run_inline = True
    """In the run's own context, and no callback takes a thread."""

    def __init__(self, tracer: Tracer, ids: tuple[int, int]) -> None:
        """`ids` are those of the trace and of the run's outermost span: should the worker die, the next one sends a
        span in its place, so that what was sent from inside it hangs under something.
        """
        self._tracer = tracer
        self._ids: tuple[int, int] | None = ids
        self._calls: dict[UUID, _Call] = {}

    def span_of(self, run_id: UUID) -> Span | None:
        """Of a call that is under way."""
        call = self._calls.get(run_id)
        return None if call is None else call.span

    def close(self) -> None:
        """Ends what the run has left open, which is what a run does that ignores its cancellation."""
        for run_id in reversed(list(self._calls)):
            call = self._calls.pop(run_id)
            if call.span and not call.is_hidden:
                _fail(call.span, "The attempt ended without it.")
                call.span.end()

    def on_chain_start(
        self, serialized: Any, inputs: Any, *,  # noqa: ARG002  LangChain gives them by place
        run_id: UUID, parent_run_id: UUID | None = None,
        tags: Sequence[str] | None = None, metadata: Mapping[str, Any] | None = None, **about: Any,
    ) -> None:  # fmt: skip
        if parent_run_id is not None and HIDDEN in (tags or ()):
            parent = self._calls.get(parent_run_id)
            self._calls[run_id] = _Call(self.span_of(parent_run_id), parent, is_hidden=True)
            return
        attributes = {names.TYPE: "chain"}
        if parent_run_id is None:
            own = {name: value for name, value in (metadata or {}).items() if not name.startswith(OF_LIBRARIES)}
            attributes |= {names.METADATA: json_of(own)} if own else {}
        self._begin(run_id, parent_run_id, serialized, about, attributes)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **_: Any) -> None:
        if (call := self._calls.get(run_id)) and call.span and not (call.is_hidden or call.made_calls):
            call.span.set_attribute(names.OUTPUT, json_of(outputs))
        self._end(run_id)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self._end(run_id, error)

    def on_chat_model_start(
        self, serialized: Any, messages: Sequence[Sequence[BaseMessage]], *, run_id: UUID,
        parent_run_id: UUID | None = None, metadata: Mapping[str, Any] | None = None, **about: Any,
    ) -> None:  # fmt: skip
        prompt = prompt_of(messages[0], about.get("invocation_params", {}).get("tools"))
        self._begin_model(run_id, parent_run_id, serialized, metadata, about, prompt)

    def on_llm_start(
        self, serialized: Any, prompts: Sequence[str], *, run_id: UUID,
        parent_run_id: UUID | None = None, metadata: Mapping[str, Any] | None = None, **about: Any,
    ) -> None:  # fmt: skip
        self._begin_model(run_id, parent_run_id, serialized, metadata, about, "\n".join(prompts))

    def on_llm_new_token(self, token: Any, *, run_id: UUID, **_: Any) -> None:  # noqa: ARG002  as above
        if (call := self._calls.get(run_id)) and call.span and not call.has_token:
            call.has_token = True
            call.span.set_attribute(names.STARTED, json_of(datetime.now(UTC)))

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **_: Any) -> None:
        if span := self.span_of(run_id):
            span.set_attributes(_told(response))
        self._end(run_id)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        if span := self.span_of(run_id):
            code = error.code if isinstance(error, AgentError) else type(error).__name__
            span.set_attribute("longhaul.error_code", str(code))
        self._end(run_id, error)

    def on_tool_start(
        self, serialized: Any, input_str: str, *, run_id: UUID, parent_run_id: UUID | None = None,
        inputs: Mapping[str, Any] | None = None, **about: Any,
    ) -> None:  # fmt: skip
        given = {names.TYPE: "tool", names.INPUT: json_of(input_str if inputs is None else inputs)}
        call = self._begin(run_id, parent_run_id, serialized, about, given)
        if call.span:  # spans that the tool's own code makes, with whatever library, hang under it
            call.entered = context.attach(otel.set_span_in_context(call.span))

    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        if span := self.span_of(run_id):
            span.set_attribute(names.OUTPUT, json_of(output))
            if isinstance(output, ToolMessage) and output.status == "error":
                _fail(span, str(output.content))
        self._end(run_id)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self._end(run_id, error)

    def on_retriever_start(
        self, serialized: Any, query: str, *, run_id: UUID, parent_run_id: UUID | None = None, **about: Any
    ) -> None:
        given = {names.TYPE: "retriever", names.INPUT: query}
        self._begin(run_id, parent_run_id, serialized, about, given)

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **_: Any) -> None:
        if span := self.span_of(run_id):
            span.set_attribute(names.OUTPUT, json_of(list(documents)))
        self._end(run_id)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self._end(run_id, error)

    def _begin_model(
        self, run_id: UUID, parent_run_id: UUID | None, serialized: Any, metadata: Mapping[str, Any] | None,
        about: Mapping[str, Any], prompt: str,
    ) -> None:  # fmt: skip
        asked = about.get("invocation_params", {})
        attributes = {names.TYPE: "generation", names.INPUT: prompt}
        if model := (metadata or {}).get("ls_model_name") or asked.get("model"):
            attributes[names.MODEL] = str(model)
        if given := {name: value for name in PARAMETERS if (value := asked.get(name)) is not None}:
            attributes[names.PARAMETERS] = json_of(given)
        self._begin(run_id, parent_run_id, serialized, about, attributes)

    def _begin(
        self, run_id: UUID, parent_run_id: UUID | None, serialized: Any, about: Mapping[str, Any], attributes: Any
    ) -> _Call:
        parent = None if parent_run_id is None else self._calls.get(parent_run_id)
        name = about.get("name") or (serialized or {}).get("name") or "call"
        under = otel.set_span_in_context(parent.span) if parent and parent.span else None
        if parent_run_id is None and self._ids is not None:
            ids, self._ids = self._ids, None
            with chosen_ids(*ids):
                span = self._tracer.start_span(name, under, attributes=attributes)
        else:
            span = self._tracer.start_span(name, under, attributes=attributes)
        if attributes[names.TYPE] != "chain":
            above = parent
            while above is not None and not above.made_calls:
                above.made_calls = True
                above = above.parent
        call = self._calls[run_id] = _Call(span, parent)
        return call

    def _end(self, run_id: UUID, error: BaseException | None = None) -> None:
        call = self._calls.pop(run_id, None)
        if call is None or call.span is None or call.is_hidden:
            return
        if call.entered is not None:
            context.detach(call.entered)
        if isinstance(error, GraphBubbleUp):  # how a graph hands on and waits for people: no failure
            call.span.set_attribute(names.STATUS, str(error) or type(error).__name__)
        elif error is not None:
            _fail(call.span, str(error))
        call.span.end()


def _fail(span: Span, said: str) -> None:
    span.set_attributes({names.LEVEL: "ERROR", names.STATUS: said})
    span.set_status(Status(StatusCode.ERROR, said))


def _told(response: LLMResult) -> dict[str, str]:
    """What it answered, and what Longhaul knows of it: the registry's name of the model, and the cost by its prices."""
    answer = response.generations[-1][-1]
    told = {names.OUTPUT: answer_of(answer)}
    if not isinstance(answer, ChatGeneration):
        return told
    if usage := getattr(answer.message, "usage_metadata", None):
        told[names.USAGE] = json_of(usage_of(usage))
    if known := answer.message.response_metadata.get("longhaul"):
        told["longhaul.model"] = known["registry_key"]
        if known["cost_usd"] is not None:
            told[names.COST] = json_of({"total": known["cost_usd"]})
    return told


def usage_of(usage: Mapping[str, Any]) -> dict[str, int]:
    """Of LangChain's UsageMetadata. Langfuse adds up what it is told: `input` and `output` are without the parts that
    are told beside them.
    """
    told: dict[str, int] = {"total": usage["total_tokens"]}
    for side in ("input", "output"):
        told[side] = usage[f"{side}_tokens"]
        for name, tokens in (usage.get(f"{side}_token_details") or {}).items():
            if tokens:
                told[f"{side}_{name}"] = tokens
                told[side] = max(0, told[side] - tokens)
    return told
