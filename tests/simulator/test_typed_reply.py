"""Answers as data: by a tool for the final answer or by `response_format`, right ones and wrong ones."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from loadtest.simulator.instances import Maker
from tests.simulator.server import CALCULATOR, TOOLS, Server, user

TOTAL = {
    "type": "object",
    "properties": {"total": {"type": "number"}, "note": {"type": "string"}},
    "required": ["total"],
    "additionalProperties": False,
}


def output(schema: dict[str, Any], name: str = "final_answer") -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": "", "parameters": schema}}


def json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def called(message: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(one["function"]["name"], json.loads(one["function"]["arguments"])) for one in message["tool_calls"]]


def after(call: dict[str, Any], content: str) -> list[dict[str, Any]]:
    return [call, {"role": "tool", "tool_call_id": call["tool_calls"][0]["id"], "content": content}]


@pytest.mark.parametrize("name", ["final_answer", "final_result", "response_format_1a2b", "structured_output"])
@pytest.mark.parametrize("choice", ["auto", "required"])
def test_tools_first_and_then_the_answer_made_of_what_they_said(simulator: Server, name: str, choice: str) -> None:
    tools = [*TOOLS, output(TOTAL, name)]
    asked = [user("Compute 6 * 7")]
    first = simulator.message(messages=asked, tools=tools, tool_choice=choice)
    assert called(first) == [("calculator", {"expression": "6 * 7"})]
    second = simulator.message(messages=[*asked, *after(first, "42")], tools=tools, tool_choice=choice)
    assert called(second) == [(name, {"total": 42, "note": "[simulated] The calculator tool answered: 42."})]


def test_told_that_it_was_wrong_it_answers_once_more(simulator: Server) -> None:
    tools = [CALCULATOR, output(TOTAL)]
    asked = [user("[[step=1 output=wrong]] hello")]
    first = simulator.message(messages=asked, tools=tools)
    assert called(first) == [("final_answer", {"note": called(first)[0][1]["note"]})]
    again = simulator.message(messages=[*asked, *after(first, "Error: 'total' is required")], tools=tools)
    assert set(called(again)[0][1]) == {"total", "note"}
    assert "required" not in str(called(again)), "what was wrong is no tool's answer"


def test_always_wrong(simulator: Server) -> None:
    tools = [output(TOTAL)]
    asked = [user("[[output=wrong]] hello")]
    first = simulator.message(messages=asked, tools=tools)
    again = simulator.message(messages=[*asked, *after(first, "wrong")], tools=tools)
    for message in (first, again):
        ((_, data),) = called(message)
        assert not Draft202012Validator(TOTAL).is_valid(data)


@pytest.mark.parametrize(
    ("how", "begins"), [("text", "{"), ("fenced", "Here it is:\n\n```json\n{"), ("prose", "[simulated] ")]
)
def test_the_answer_as_text(simulator: Server, how: str, begins: str) -> None:
    message = simulator.say(f"[[output={how}]] hello", tools=[output(TOTAL)])
    assert "tool_calls" not in message
    assert message["content"].startswith(begins)


def test_response_format_is_honoured(simulator: Server) -> None:
    message = simulator.say("hello", response_format=json_schema(TOTAL))
    assert Draft202012Validator(TOTAL).is_valid(json.loads(message["content"]))
    wrong = simulator.say("[[output=wrong]] hello", response_format=json_schema(TOTAL))
    assert not Draft202012Validator(TOTAL).is_valid(json.loads(wrong["content"]))
    assert set(json.loads(simulator.say("hello", response_format={"type": "json_object"})["content"])) == {"answer"}
    assert simulator.say("hello", response_format={"type": "text"})["content"].startswith("[simulated]")


@pytest.mark.parametrize("bad", [7, {"type": "xml"}, {"type": "json_schema"}, json_schema([])])  # type: ignore[arg-type]  # wrong on purpose
def test_a_wrong_response_format_is_refused(simulator: Server, bad: Any) -> None:
    assert simulator.post("hello", response_format=bad).status_code == 400


def test_a_misspelt_output_is_refused(simulator: Server) -> None:
    answer = simulator.post("[[output=xml]] hello")
    assert answer.json()["error"]["code"] == "simulator_directive"
    assert "one of wrong, text, fenced, prose" in answer.text


SCHEMAS: list[dict[str, Any]] = [
    TOTAL,
    {"type": "object", "properties": {"kid": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["kid"]},
    {"type": "array", "items": {"$ref": "#/$defs/n"}, "minItems": 3, "$defs": {"n": {"type": "integer", "minimum": 7}}},
    {"allOf": [{"required": ["a"], "properties": {"a": {"type": "integer"}}}, {"required": ["b"]}]},
    {"type": "object", "minProperties": 2, "additionalProperties": {"type": "integer", "multipleOf": 7, "minimum": 20}},
    {"type": "object", "properties": {"x": {"exclusiveMinimum": 0, "exclusiveMaximum": 1}}, "required": ["x"]},
    {"type": "object", "properties": {"x": {"type": "integer", "maximum": -3}}, "required": ["x"]},
    {"type": "object", "properties": {"s": {"type": "string", "minLength": 200, "maxLength": 201}}, "required": ["s"]},
    {"type": "object", "properties": {"e": {"enum": ["é"]}, "c": {"const": None}, "b": {"type": ["null", "boolean"]}}},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "boolean"}], "items": False},
    {"type": "object", "properties": {"d": {"type": "string", "format": "date"}}, "required": ["d"]},
    {},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=range(len(SCHEMAS)))
def test_a_value_satisfies_its_schema_and_a_broken_one_does_not(schema: dict[str, Any]) -> None:
    maker = Maker(schema, "[simulated] hello", [42, 3.5])
    assert Draft202012Validator(schema).is_valid(maker.make(schema))
    assert maker.make(schema) == maker.make(schema)
    assert not schema or not Draft202012Validator(schema).is_valid(maker.broken(schema))


WORDS = [
    "type",
    "properties",
    "required",
    "items",
    "anyOf",
    "allOf",
    "$ref",
    "minimum",
    "maximum",
    "multipleOf",
    "enum",
]
odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(["#", "object", "array", "#/x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(WORDS), odd, max_size=5))
def test_whatever_calls_itself_a_schema_gets_a_value(schema: dict[str, Any]) -> None:
    maker = Maker(schema, "text", [])
    json.dumps([maker.make(schema), maker.broken(schema)])
