"""Answers as data: a task's `output_schema`, asked of the model, checked by us, repaired at most once.

The schema is offered as a tool, `final_answer`, whose arguments are the answer: LangChain's ToolStrategy, because every
provider has tools and few have more. The model is not forced to call it, since DashScope and thinking models refuse a
forced call; one that answers with JSON text instead is understood too. LangChain does not validate against a schema
that is plain JSON, so nothing counts but `check`.
"""

import asyncio
import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain.agents.structured_output import MultipleStructuredOutputsError, ToolStrategy
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import BaseTool

from agent.errors import AgentError, ErrorCode
from agent.final_text import final_text, refuse_unfinished
from agent.run_context import current_run
from agent.schema_check import check
from agent.work import Answer

OUTPUT_TOOL = "final_answer"
"""No tool of an agent's may have this name."""
VALUE = "value"
"""The one argument of OUTPUT_TOOL when the schema is not plainly an object's, which is what arguments must be."""
DESCRIPTION = "Gives the final answer. Its arguments are the answer."
RULES = (
    f"Give your final answer by calling the tool `{OUTPUT_TOOL}` once, alone and last, with arguments that satisfy its "
    "schema. Do not write the answer as text."
)
MOST_GRAPHS = 64
"""Schemas whose graphs are kept; the least used goes first."""

MOST_READ = 5
"""Places of a text where JSON is looked for."""

_REPAIR = "longhaul_repair"
"""Marks the message that told the model what was wrong: one is all that a run has."""
_NOT_PLAIN = {"$ref", "allOf", "anyOf", "const", "enum", "if", "not", "oneOf"}
"""Providers refuse these at the top of a tool's arguments."""
_FENCED = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)


def json_text(data: Any) -> str:
    """A JSON value as one line of readable text."""
    return json.dumps(data, ensure_ascii=False)


def typed_answer(state: Mapping[str, Any]) -> Answer:
    """The answer that a graph with TypedOutput ended with."""
    data = state["structured_response"][VALUE]
    return Answer(json_text(data), data)


@dataclass(frozen=True, slots=True)
class _Judged:
    """One answer of the model. With `wrong`: `told` is the answer and what the model is told of it."""

    response: ModelResponse[Any]
    wrong: str | None = None
    text: str = ""
    told: Sequence[AnyMessage] = ()


Graph = TypeVar("Graph")
Handler = Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]


class TypedOutput(AgentMiddleware[Any, Any, Any]):
    """Holds a graph's final answer to a schema. Used with `response_format=typed.strategy()`."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        super().__init__()
        self._schema = schema
        self._wrapped = schema.get("type") != "object" or not _NOT_PLAIN.isdisjoint(schema)

    def strategy(self) -> ToolStrategy[Any]:
        """One tool, whatever the schema: LangChain makes a tool of each option of a `oneOf`."""
        arguments = {name: value for name, value in self._schema.items() if name not in {"$schema", "$id"}}
        if self._wrapped:
            rebased = _rebased(arguments, f"#/properties/{VALUE}")
            arguments = {"type": "object", "properties": {VALUE: rebased}, "required": [VALUE]}
        described = f"{DESCRIPTION} {self._schema.get('description', '')}".strip()
        named = {**arguments, "title": OUTPUT_TOOL, "description": described}
        return ToolStrategy(named, handle_errors=False, tool_message_content="Taken.")

    async def awrap_model_call(self, request: ModelRequest[Any], handler: Handler) -> ModelResponse[Any]:
        """One call of the model, and one more when what it answers as its last is not what was asked for."""
        said = request.system_message.text if request.system_message else ""
        request = request.override(system_message=SystemMessage(f"{said.rstrip()}\n\n{RULES}".lstrip()))
        judged = await self._judge(request, handler)
        if judged.wrong is None:
            return judged.response
        if any(_REPAIR in message.additional_kwargs for message in request.messages):
            raise _invalid(judged.wrong, judged.text)
        again = await self._judge(request.override(messages=[*request.messages, *judged.told]), handler)
        if again.wrong is not None:
            raise _invalid(again.wrong, again.text)
        return ModelResponse(
            result=[*judged.told, *again.response.result], structured_response=again.response.structured_response
        )

    async def _judge(self, request: ModelRequest[Any], handler: Handler) -> _Judged:
        try:
            response = await handler(request)
            answer = response.result[0]
        except MultipleStructuredOutputsError as error:
            answer = error.ai_message
            response = ModelResponse(result=[answer])
        assert isinstance(answer, AIMessage)  # noqa: S101  LangChain puts what the model said first
        calls = [call for call in answer.tool_calls if call["name"] == OUTPUT_TOOL]
        if answer.tool_calls and not calls:
            return _Judged(response)  # on to its tools
        model = current_run().meter.model or ""
        if calls:
            refuse_unfinished(answer, model)
            text = "\n".join(json_text(call["args"]) for call in calls)
            given = self._readings(calls[0]["args"])[-1:] if len(calls) == 1 else []
            wrong = f"{OUTPUT_TOOL} was called {len(calls)} times"
        else:
            text = final_text(answer, model)
            given = [data for value in _values_in(text) for data in self._readings(value)]
            wrong = "the answer is text and no JSON"
        for data in given:
            fault = await asyncio.to_thread(check, data, self._schema)
            if fault is None:
                return _Judged(ModelResponse(result=response.result, structured_response={VALUE: data}))
            wrong = fault
        return _Judged(response, wrong, text, _told(answer, wrong))

    def _readings(self, value: Any) -> list[Any]:
        """What the model may have meant by a value: itself, and what it wrapped as the tool's argument."""
        if self._wrapped and isinstance(value, dict) and value.keys() == {VALUE}:
            return [value, value[VALUE]]
        return [value]


def _told(answer: AIMessage, wrong: str) -> list[AnyMessage]:
    """The answer, and what is wrong with it: as the tool's result, which each call has to have, or in a message."""
    said = f"This does not satisfy the schema: {wrong}. Call `{OUTPUT_TOOL}` once more, with corrected arguments."
    if not answer.tool_calls:
        return [answer, HumanMessage(said, additional_kwargs={_REPAIR: True})]
    told: list[AnyMessage] = [answer]
    for call in answer.tool_calls:
        text = said if call["name"] == OUTPUT_TOOL else f"Not run: it was called together with {OUTPUT_TOOL}."
        told.append(ToolMessage(text, tool_call_id=call["id"], name=call["name"], additional_kwargs={_REPAIR: True}))
    return told


def _invalid(wrong: str, text: str) -> AgentError:
    current_run().meter.partial = text
    return AgentError(ErrorCode.INVALID_OUTPUT, f"The answer does not satisfy output_schema: {wrong}")


def _values_in(text: str) -> Iterator[Any]:
    """The text as JSON, else what stands in its fences."""
    for one in [text, *_FENCED.findall(text)][:MOST_READ]:
        try:
            yield json.loads(one)
        except (ValueError, RecursionError):
            continue


def _rebased(schema: Any, root: str) -> Any:
    """The schema with its references put right for standing at `root`."""
    if isinstance(schema, list):
        return [_rebased(one, root) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: root + value[1:]
        if name == "$ref" and isinstance(value, str) and re.match(r"#(/|$)", value)
        else _rebased(value, root)
        for name, value in schema.items()
    }


def as_sent(tools: Sequence[Any], tool_choice: Any) -> tuple[list[Any], Any]:
    """Tools and choice as a model call sends them: OUTPUT_TOOL with its schema as it is, and never forced.

    LangChain would write out each of its references in full, which may be endless and takes recursive ones away.
    """
    typed = any(_is_output_tool(tool) for tool in tools)
    sent = [_as_function(tool) if _is_output_tool(tool) else tool for tool in tools]
    return sent, None if typed else tool_choice


def _is_output_tool(tool: Any) -> bool:
    return isinstance(tool, BaseTool) and tool.name == OUTPUT_TOOL


def _as_function(tool: BaseTool) -> dict[str, Any]:
    arguments = tool.args_schema if isinstance(tool.args_schema, dict) else {}
    parameters = {name: value for name, value in arguments.items() if name not in {"title", "description"}}
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": parameters},
    }


class RecentGraphs(Generic[Graph]):
    """Graphs that were built for a schema, the most recently used MOST_GRAPHS of them."""

    def __init__(self) -> None:
        self._graphs: OrderedDict[tuple[str, ...], Graph] = OrderedDict()

    def get(self, names: tuple[str, ...], schema: Mapping[str, Any], build: Callable[[], Graph]) -> Graph:
        """The graph for `names` (what else it is built from) and `schema`."""
        key = (*names, hashlib.sha256(json_text(schema).encode("utf-8", "replace")).hexdigest())
        if key not in self._graphs:
            self._graphs[key] = build()
        self._graphs.move_to_end(key)
        if len(self._graphs) > MOST_GRAPHS:
            self._graphs.popitem(last=False)
        return self._graphs[key]
