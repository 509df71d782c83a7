"""What stands in which span of a run: contents at the calls, not at the steps that made them."""

import json
import operator
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any, TypedDict
from uuid import uuid4

import pytest
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import FakeListLLM, GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.outputs import Generation, LLMResult
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.errors import GraphInterrupt
from langgraph.graph import StateGraph
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agent.errors import AgentError, ErrorCode
from monitoring.traces.messages import json_of, message_of
from monitoring.traces.provider import ChosenIds
from monitoring.traces.run import TracedRun, usage_of

IDS = (0xABC, 0xDEF)
INPUT, OUTPUT, TYPE, STARTED = (
    f"langfuse.observation.{name}" for name in ("input", "output", "type", "completion_start_time")
)


class Kept:
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(id_generator=ChosenIds(), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer("t")
        self.run = TracedRun(self.tracer, IDS)
        self.config: RunnableConfig = {"callbacks": [self.run], "run_name": "outermost"}

    def __getitem__(self, name: str) -> ReadableSpan:
        (found,) = (span for span in self.exporter.get_finished_spans() if span.name == name)
        return found

    def of(self, name: str) -> dict[str, Any]:
        return dict(self[name].attributes or {})

    def above(self, name: str) -> str:
        parent = self[name].parent
        assert parent is not None
        (found,) = (span for span in self.exporter.get_finished_spans() if span.context.span_id == parent.span_id)
        return found.name


@pytest.fixture
def kept() -> Iterator[Kept]:
    made = Kept()
    yield made
    assert not made.run._calls, "nothing is kept of what is over"


class State(TypedDict):
    said: Annotated[list[str], operator.add]


@tool
def shout(text: str) -> str:
    """Say it aloud."""
    return text.upper()


class Shelf(BaseRetriever):
    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [Document(f"about {query}", metadata={"page": 3})]


def graph(model: Any) -> Any:
    async def plan(state: State) -> State:
        return {"said": [f"plan of {state['said'][0]}"]}

    async def work(state: State, config: RunnableConfig) -> State:
        answer = await model.ainvoke([SystemMessage("Be kind."), HumanMessage(state["said"][0])], config)
        loud = await shout.ainvoke({"text": answer.content}, config)
        found = await Shelf().ainvoke("tea", config)
        return {"said": [loud, found[0].page_content]}

    made = StateGraph(State)
    made.add_node("plan", plan)
    made.add_node("work", work)
    made.add_edge("__start__", "plan")
    made.add_edge("plan", "work")
    return made.compile()


async def test_contents_stand_at_the_calls(kept: Kept) -> None:
    answer = AIMessage("hello", response_metadata={"longhaul": {"registry_key": "GPT", "cost_usd": 0.25}})
    model = GenericFakeChatModel(messages=iter([answer]))
    await graph(model).ainvoke({"said": ["hi"]}, {**kept.config, "metadata": {"note": "pears", "ls_x": "library's"}})

    outermost = kept["outermost"]
    assert (outermost.context.trace_id, outermost.context.span_id) == IDS
    assert kept.of("outermost") == {TYPE: "chain", "langfuse.observation.metadata": '{"note":"pears"}'}
    assert kept.of("work") == {TYPE: "chain"}, "its calls say what it did"
    assert kept.of("plan") == {TYPE: "chain", OUTPUT: '{"said":["plan of hi"]}'}, "it made none"

    asked = kept.of("GenericFakeChatModel")
    assert asked[TYPE] == "generation"
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}]
    assert json.loads(asked[INPUT]) == messages
    assert json.loads(asked[OUTPUT]) == {"role": "assistant", "content": "hello"}
    assert (asked["longhaul.model"], asked["langfuse.observation.cost_details"]) == ("GPT", '{"total":0.25}')
    assert kept.of("shout") == {TYPE: "tool", INPUT: '{"text":"hello"}', OUTPUT: "HELLO"}
    (page,) = json.loads(kept.of("Shelf")[OUTPUT])
    assert (kept.of("Shelf")[INPUT], page) == ("tea", {"content": "about tea", "metadata": {"page": 3}})
    assert [kept.above(name) for name in ("plan", "work", "GenericFakeChatModel", "shout", "Shelf")] == [
        "outermost", "outermost", "work", "work", "work",
    ]  # fmt: skip


async def test_spans_of_a_tool_s_own_code_hang_under_it(kept: Kept) -> None:
    @tool
    async def inner(text: str) -> str:
        """Look it up."""
        with kept.tracer.start_as_current_span("query"):
            return text

    before = otel.get_current_span()
    await inner.ainvoke({"text": "x"}, kept.config)
    assert kept.above("query") == "outermost"
    assert otel.get_current_span() is before


async def test_what_fails_says_so(kept: Kept) -> None:
    @tool
    def broken(text: str) -> str:
        """Break."""
        raise AgentError(ErrorCode.PROVIDER_UNAVAILABLE, f"no {text}")

    with pytest.raises(AgentError):
        await broken.ainvoke({"text": "tea"}, {"callbacks": [kept.run]})
    assert kept.of("broken")["langfuse.observation.level"] == "ERROR"
    assert kept["broken"].status.description == "provider_unavailable: no tea"
    kept.run.on_tool_start({"name": "answers"}, "x", run_id=(run_id := uuid4()))
    kept.run.on_tool_end(ToolMessage("not today", tool_call_id="1", status="error"), run_id=run_id)
    assert kept.of("answers")["langfuse.observation.status_message"] == "not today"
    assert not kept["answers"].status.is_ok


def test_a_graph_that_waits_for_a_person_has_not_failed(kept: Kept) -> None:
    kept.run.on_chain_start(None, {}, run_id=(run_id := uuid4()), name="asks")
    kept.run.on_chain_error(GraphInterrupt(()), run_id=run_id)
    assert "langfuse.observation.level" not in kept.of("asks")
    assert kept["asks"].status.is_unset


def test_plumbing_has_no_span_and_loses_nobody(kept: Kept) -> None:
    outer, hidden, inside = uuid4(), uuid4(), uuid4()
    kept.run.on_chain_start(None, {}, run_id=outer, name="outer")
    kept.run.on_chain_start(None, {}, run_id=hidden, parent_run_id=outer, name="pipe", tags=["langsmith:hidden"])
    assert kept.run.span_of(hidden) is kept.run.span_of(outer)
    kept.run.on_tool_start({"name": "t"}, "x", run_id=inside, parent_run_id=hidden)
    kept.run.on_tool_end("y", run_id=inside)
    kept.run.on_chain_end("text", run_id=hidden)
    outer_span = kept.run.span_of(outer)
    assert outer_span is not None
    assert outer_span.is_recording(), "it goes on"
    kept.run.on_chain_end("text", run_id=outer)
    assert [span.name for span in kept.exporter.get_finished_spans()] == ["t", "outer"]
    assert kept.above("t") == "outer"
    assert OUTPUT not in kept.of("outer"), "the call inside was its doing"


def test_an_outermost_run_has_a_span_whatever_its_tags(kept: Kept) -> None:
    kept.run.on_chain_start(None, {}, run_id=(run_id := uuid4()), name="outer", tags=["langsmith:hidden"])
    kept.run.on_chain_end("text", run_id=run_id)
    assert kept.of("outer")[OUTPUT] == "text"


def test_the_tools_that_a_model_is_offered_are_told(kept: Kept) -> None:
    offered = [{"type": "function", "function": {"name": "shout"}}]
    asked = {"model": "m-1", "temperature": 0, "max_tokens": 5, "tools": offered, "api_key": "k"}
    kept.run.on_chat_model_start(
        {"name": "m"}, [[HumanMessage("hi")]], run_id=(run_id := uuid4()), invocation_params=asked
    )
    kept.run.on_llm_end(LLMResult(generations=[[Generation(text="ab")]]), run_id=run_id)
    assert json.loads(kept.of("m")[INPUT]) == {"messages": [{"role": "user", "content": "hi"}], "tools": offered}
    assert kept.of("m")["langfuse.observation.model.name"] == "m-1"
    assert json.loads(kept.of("m")["langfuse.observation.model.parameters"]) == {"temperature": 0, "max_tokens": 5}


async def test_a_model_of_texts(kept: Kept) -> None:
    assert await FakeListLLM(responses=["words"]).ainvoke("say it", kept.config) == "words"
    told = kept.of("outermost")
    assert (told[TYPE], told[INPUT], told[OUTPUT]) == ("generation", "say it", "words")


async def test_the_first_token_s_time_is_told_and_no_later_one_s(kept: Kept) -> None:
    kept.run.on_llm_start({"name": "m"}, ["x"], run_id=(run_id := uuid4()))
    kept.run.on_llm_new_token("a", run_id=run_id)
    span: Any = kept.run.span_of(run_id)
    first = span.attributes[STARTED]
    kept.run.on_llm_new_token("b", run_id=run_id)
    kept.run.on_llm_end(LLMResult(generations=[[Generation(text="ab")]]), run_id=run_id)
    assert kept.of("m")[STARTED] == first
    assert datetime.fromisoformat(json.loads(str(first))).utcoffset() == timedelta(0)


def test_tokens_add_up() -> None:
    usage = UsageMetadata(
        input_tokens=100, output_tokens=30, total_tokens=130,
        input_token_details=InputTokenDetails(cache_read=60, audio=0),
        output_token_details=OutputTokenDetails(reasoning=12),
    )  # fmt: skip
    told = usage_of(dict(usage))
    assert told == {"input": 40, "input_cache_read": 60, "output": 18, "output_reasoning": 12, "total": 130}
    assert usage_of({"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}) == {
        "input": 1, "output": 2, "total": 3,
    }  # fmt: skip


def test_messages_are_told_as_providers_know_them() -> None:
    call = {"name": "shout", "args": {"text": "x"}, "id": "1", "type": "tool_call"}
    told = message_of(AIMessage("", tool_calls=[call], additional_kwargs={"why": "so"}))
    assert told == {"role": "assistant", "content": "", "tool_calls": [call], "additional_kwargs": {"why": "so"}}
    assert message_of(ToolMessage("X", tool_call_id="1")) == {"role": "tool", "content": "X", "tool_call_id": "1"}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("plain", "plain"),
        ({"a": {1, 2}}, '{"a":[1,2]}'),
        ({1: "x", "m": HumanMessage("hi")}, '{"1":"x","m":{"role":"user","content":"hi"}}'),
        (2**70, str(2**70)),
        ({"half": "\ud83d", "m": [HumanMessage("hi")]}, None),
        ({(1, 2): "pair"}, "{(1, 2): 'pair'}"),
        (object, "\"<class 'object'>\""),
    ],
)
def test_no_value_breaks_a_span(value: Any, told: str | None) -> None:
    said = json_of(value)
    assert said == told if told is not None else "hi" in said


def test_what_holds_itself_is_told_in_some_way() -> None:
    value: dict[str, Any] = {}
    value["me"] = value
    assert json_of(value)
