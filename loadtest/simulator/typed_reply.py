"""Answers as data, when the request says in which form: a tool for the final answer, or `response_format`."""

import re
from collections.abc import Sequence
from typing import Any

import orjson

from loadtest.simulator.behaviour import Output
from loadtest.simulator.conversation import ToolResult
from loadtest.simulator.instances import Maker, numbers_in
from loadtest.simulator.phrases import looks_like_error
from loadtest.simulator.request import Tool

_OUTPUT_TOOL = re.compile(r"final_(?:answer|result|output)|response_format\w*|structured_\w+")


def output_tool(tools: Sequence[Tool]) -> Tool | None:
    """The offered tool whose arguments are the final answer, by its name."""
    return next((tool for tool in tools if _OUTPUT_TOOL.fullmatch(tool.name)), None)


def answer_data(schema: dict[str, Any], said: str, results: Sequence[ToolResult], output: Output | None) -> Any:
    """A value for the schema that holds what the text would have said, or one that breaks it."""
    numbers = [number for one in results if not looks_like_error(one.content) for number in numbers_in(one.content)]
    maker = Maker(schema, said, numbers)
    return maker.broken(schema) if output is Output.WRONG else maker.make(schema)


def as_text(data: Any, output: Output | None) -> str:
    text = orjson.dumps(data).decode()
    return f"Here it is:\n\n```json\n{text}\n```\n\nThat is all." if output is Output.FENCED else text
