"""The small rule-driven model: messages and offered tools in, text or tool calls out. It computes nothing itself: a
final text holds what the request's tool messages hold.
"""

import os
from dataclasses import dataclass
from typing import Any

import orjson

from loadtest.simulator import phrases
from loadtest.simulator.behaviour import Behaviour, Output, without_directives
from loadtest.simulator.conversation import Conversation
from loadtest.simulator.intents import Kind, asks_to_recall, find_needs, is_chinese
from loadtest.simulator.request import ChatRequest, RefusedError, Tool
from loadtest.simulator.toolbox import arguments_for, sample_arguments, tool_for
from loadtest.simulator.typed_reply import answer_data, as_text, output_tool


@dataclass(frozen=True, slots=True)
class ToolCall:
    id: str
    name: str
    arguments: str  # JSON


@dataclass(frozen=True, slots=True)
class Reply:
    """Either text or calls."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()


def reply_to(request: ChatRequest, conversation: Conversation, behaviour: Behaviour) -> Reply:
    question = without_directives(conversation.question)
    chinese = is_chinese(question)
    output_by = output_tool(request.tools)
    results = [result for result in conversation.results() if output_by is None or result.tool != output_by.name]
    tools = [] if request.tool_choice == "none" else request.tools
    if request.tool_choice not in {"auto", "none", "required"}:
        tools = [tool for tool in tools if tool.name == request.tool_choice]
    tools = [tool for tool in tools if tool is not output_by]

    missing: list[Kind] = []
    if behaviour.tools is not None:
        planned = _named(tools, behaviour.tools, conversation.step)
    elif behaviour.loop or behaviour.tool_calls is not None:
        planned = _script(tools, behaviour, conversation.step)
        if not tools:
            return _say(phrases.nothing_to_call(chinese=chinese), chinese=chinese)
    else:
        planned, missing = _plan(question, tools)
        planned = planned[len(results) :]
        if not planned and not results and tools and request.tool_choice != "auto":
            planned = [(tools[0], sample_arguments(tools[0]))]
    if planned:
        return Reply(calls=tuple(_call(tool, given) for tool, given in (planned if request.parallel else planned[:1])))

    sentences = phrases.about_results(results, chinese=chinese) + phrases.about_missing(missing, chinese=chinese)
    if not sentences and asks_to_recall(question):
        earlier = [without_directives(text) for text in conversation.earlier]
        sentences = [phrases.about_earlier(earlier, chinese=chinese)]
    if not sentences:
        sentences = [phrases.small_talk(question, chinese=chinese)]
    said = _say(("" if chinese else " ").join(sentences), chinese=chinese)
    schema = request.response_schema if output_by is None else output_by.parameters
    if schema is None or behaviour.output is Output.PROSE:
        return said
    data = answer_data(schema, said.text, results, behaviour.output)
    if output_by is None or request.tool_choice == "none" or behaviour.output in {Output.TEXT, Output.FENCED}:
        return Reply(as_text(data, behaviour.output))
    return Reply(calls=(_call(output_by, data if isinstance(data, dict) else {}),))


def _plan(question: str, tools: list[Tool]) -> tuple[list[tuple[Tool, dict[str, Any]]], list[Kind]]:
    """All calls that the message needs, and the kinds of tool that are needed but not offered."""
    planned = []
    missing: dict[Kind, None] = {}
    offered = tuple(tools)
    for need in find_needs(question, [kind for kind in Kind if tool_for(kind, offered) is not None]):
        tool = tool_for(need.kind, offered)
        if tool is None:
            missing[need.kind] = None
        else:
            planned.append((tool, arguments_for(need, tool)))
    return planned, list(missing)


def _script(tools: list[Tool], behaviour: Behaviour, step: int) -> list[tuple[Tool, dict[str, Any]]]:
    """One call a step, for ever or for so many steps, whatever the message says."""
    if not tools or not (behaviour.loop or step <= (behaviour.tool_calls or 0)):
        return []
    tool = tool_for(Kind.CALCULATOR, tuple(tools)) or tools[0]
    return [(tool, sample_arguments(tool, step))]


def _named(tools: list[Tool], steps: tuple[tuple[str, ...], ...], step: int) -> list[tuple[Tool, dict[str, Any]]]:
    """The calls that `[[tools=…]]` has for this step, none after its last. RefusedError: one of them is not offered."""
    if step > len(steps):
        return []
    offered = {tool.name: tool for tool in tools}
    if missing := [name for name in steps[step - 1] if name not in offered]:
        raise RefusedError(
            f"Simulator: the directive 'tools' names {missing[0]!r} for step {step}, which this request does "
            f"not offer; it offers {', '.join(offered) or 'none'}",
            code="simulator_directive",
        )
    return [(offered[name], sample_arguments(offered[name], step)) for name in steps[step - 1]]


def _call(tool: Tool, arguments: dict[str, Any]) -> ToolCall:
    return ToolCall(f"call_{os.urandom(12).hex()}", tool.name, orjson.dumps(arguments).decode())


def _say(text: str, *, chinese: bool) -> Reply:
    return Reply(phrases.MARK[chinese] + text)
