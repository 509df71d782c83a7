"""Answers as data, over real HTTP: what is sent, what is taken, and that a wrong answer is repaired once."""

import asyncio
import json
from typing import Any

import pytest

from agent import typed_output
from agent.errors import AgentError
from agent.meter import Meter
from agent.typed_output import OUTPUT_TOOL
from agent.work import AgentWork, Answer, Turn
from core_config import SIMULATOR
from tests.agent.conftest import Bench, PointAt
from tests.agent.scripted_provider import Reply, ScriptedProvider, completion

TOTAL: dict[str, Any] = {
    "type": "object",
    "description": "What it costs.",
    "properties": {"total": {"type": "number"}, "parts": {"type": "array", "items": {"$ref": "#"}}},
    "required": ["total"],
    "additionalProperties": False,
}
NAMES: dict[str, Any] = {
    "type": "array",
    "items": {"$ref": "#/$defs/name"},
    "minItems": 1,
    "$defs": {"name": {"type": "string"}},
}


def gives(*data: Any, finish: str | None = None) -> Reply:
    return completion(calls=[(OUTPUT_TOOL, one) for one in data], finish=finish)


RIGHT, WRONG, ALSO_WRONG = gives({"total": 1}), gives({"total": "x"}), gives({"total": None})


class Typed(Bench):
    async def ask(self, schema: dict[str, Any] = TOTAL, **fields: Any) -> Answer:
        runner = self._current or self.configure()
        self.meter = Meter()
        work = AgentWork(**{"task_id": "t1", "message": "hello", "model": SIMULATOR, "output_schema": schema, **fields})
        return await runner.run(work, self.meter)

    async def failure(self, schema: dict[str, Any] = TOTAL, **fields: Any) -> AgentError:
        with pytest.raises(AgentError) as caught:
            await self.ask(schema, **fields)
        return caught.value


@pytest.fixture
async def typed(provider: ScriptedProvider):
    bench = Typed(provider)
    yield bench
    await bench.close()


def sent(provider: ScriptedProvider, call: int = 0) -> dict[str, Any]:
    return provider.requests[call].body


async def test_the_schema_is_offered_as_a_tool_that_is_not_forced(typed: Typed, provider: ScriptedProvider) -> None:
    provider.says(RIGHT)
    assert await typed.ask() == Answer('{"total": 1}', {"total": 1})
    body = sent(provider)
    names = [tool["function"]["name"] for tool in body["tools"]]
    assert names == ["calculator", "get_time", "search", OUTPUT_TOOL], "the agent keeps its own"
    function = body["tools"][-1]["function"]
    parameters = {name: part for name, part in TOTAL.items() if name != "description"}
    assert function["parameters"] == parameters, "recursive references too, as they are"
    assert function["description"].endswith("What it costs.")
    assert "tool_choice" not in body
    assert "response_format" not in body
    assert f"`{OUTPUT_TOOL}`" in body["messages"][0]["content"]
    assert len(provider.requests) == 1


async def test_without_a_schema_nothing_is_added(typed: Typed, provider: ScriptedProvider) -> None:
    await typed.run("hello")
    assert OUTPUT_TOOL not in json.dumps(sent(provider))


async def test_an_input_is_the_message_as_json(typed: Typed, provider: ScriptedProvider) -> None:
    provider.says(RIGHT)
    await typed.ask(message="", input={"z": "多少 é", "a": [1, None]}, history=(Turn(role="user", text="before"),))
    users = [message["content"] for message in sent(provider)["messages"] if message["role"] == "user"]
    assert users == ["before", '{"z": "多少 é", "a": [1, null]}']


@pytest.mark.parametrize(
    "reply",
    [
        gives({"value": ["a"]}),
        completion('["a"]'),
        completion('{"value": ["a"]}'),
        completion('Sure:\n```json\n["a"]\n```\nAnything else?'),
    ],
)
async def test_a_schema_that_is_no_objects_is_wrapped(typed: Typed, provider: ScriptedProvider, reply: Reply) -> None:
    provider.says(reply)
    assert (await typed.ask(NAMES)).data == ["a"]
    parameters = sent(provider)["tools"][-1]["function"]["parameters"]
    assert (parameters["type"], parameters["required"]) == ("object", ["value"])
    assert parameters["properties"]["value"]["items"] == {"$ref": "#/properties/value/$defs/name"}
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    "text",
    [
        '{"total": 7}',
        ' \n{"total": 7}\n',
        '```json\n{"total": 7}\n```',
        'It is this:\n\n```\n{"total": 7}\n```\n',
        '```python\nx = 1\n```\n```json\n{"total": 7}\n```',
    ],
)
async def test_json_in_a_text_is_an_answer_too(typed: Typed, provider: ScriptedProvider, text: str) -> None:
    provider.says(completion(text))
    assert await typed.ask() == Answer('{"total": 7}', {"total": 7})
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (WRONG, "$.total: 'x' is not of type 'number'"),
        (gives({"total": 1, "x": 2}), "('x' was unexpected)"),
        (gives({}), "'total' is a required property"),
        (gives({"total": 1}, {"total": 2}), f"{OUTPUT_TOOL} was called 2 times"),
        (completion('{"total": "x"}'), "$.total: 'x' is not of type 'number'"),
        (completion("It is seven."), "the answer is text and no JSON"),
        (completion(calls=[(OUTPUT_TOOL, {}), ("get_time", {})]), "'total' is a required property"),
    ],
)
async def test_a_wrong_answer_is_repaired(typed: Typed, provider: ScriptedProvider, wrong: Reply, said: str) -> None:
    provider.says(wrong, RIGHT)
    assert (await typed.ask()).data == {"total": 1}
    assert len(provider.requests) == 2
    told = [m for m in sent(provider, 1)["messages"] if m["role"] in {"tool", "user"}][1:]
    assert said in told[0]["content"]
    assert len(told) == max(1, len(sent(provider, 1)["messages"][2].get("tool_calls") or ())), "each call is answered"
    assert (typed.meter.model_calls, typed.meter.usage.total_tokens) == (2, 30), "what the repair cost is counted"


async def test_a_wrong_answer_is_repaired_once_and_then_is_the_end(typed: Typed, provider: ScriptedProvider) -> None:
    provider.says(WRONG, ALSO_WRONG, RIGHT)
    failure = await typed.failure()
    assert (failure.code, failure.transient) == ("invalid_output", False)
    assert failure.detail == "The answer does not satisfy output_schema: $.total: None is not of type 'number'"
    assert len(provider.requests) == 2
    assert (typed.meter.partial, typed.meter.usage.total_tokens) == ('{"total": null}', 30)


async def test_tools_between_give_no_second_repair(typed: Typed, provider: ScriptedProvider) -> None:
    time = completion(calls=[("get_time", {})])
    provider.says(time, WRONG, time, ALSO_WRONG, RIGHT)
    assert (await typed.failure()).code == "invalid_output"
    assert len(provider.requests) == 4
    provider.requests.clear()
    provider.says(time, WRONG, time, RIGHT)
    assert (await typed.ask()).data == {"total": 1}


async def test_an_earlier_task_s_repair_is_not_this_one_s(typed: Typed, provider: ScriptedProvider) -> None:
    for _ in range(2):
        provider.says(WRONG, RIGHT)
        assert (await typed.ask()).data == {"total": 1}


async def test_the_limit_of_calls_holds_for_a_repair(typed: Typed, provider: ScriptedProvider) -> None:
    typed.configure(agent_max_iterations=1)
    provider.says(WRONG, RIGHT)
    assert (await typed.failure()).code == "max_iterations"
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (completion('{"total": 1', finish="length"), "answer_truncated"),
        (gives({"total": 1}, finish="length"), "answer_truncated"),
        (gives('{"total": ', finish="length"), "answer_truncated"),
        (gives('{"total": '), "provider_bad_response"),
        (completion(""), "empty_answer"),
        (completion("no", finish="content_filter"), "content_blocked"),
        (Reply(429, {"error": {"message": "slow down"}}), "provider_rate_limited"),
    ],
)
async def test_other_failures_stay_what_they_are(
    typed: Typed, provider: ScriptedProvider, reply: Reply, code: str
) -> None:
    provider.says(reply, RIGHT)
    assert (await typed.failure()).code == code
    assert len(provider.requests) == 1


async def test_a_failure_of_the_repair_is_that_failure(typed: Typed, provider: ScriptedProvider) -> None:
    provider.says(WRONG, Reply(500, {"error": {"message": "no"}}))
    assert (await typed.failure()).code == "provider_unavailable"


@pytest.mark.parametrize("name", ["DeepSeek-V3", "Qwen-Max", "GPT", "Local"])
async def test_it_goes_through_each_provider_of_litellm(
    typed: Typed, provider: ScriptedProvider, point_at: PointAt, name: str
) -> None:
    point_at(name)
    provider.says(WRONG, gives({"total": 3}))
    assert (await typed.ask(model=name)).data == {"total": 3}
    assert sent(provider)["tools"][-1]["function"]["parameters"]["required"] == ["total"]
    assert "tool_choice" not in sent(provider)


async def test_it_goes_through_anthropic(typed: Typed, provider: ScriptedProvider, point_at: PointAt) -> None:
    point_at("Claude", path="")

    def message(content: list[dict[str, Any]], stop: str) -> Reply:
        usage = {"input_tokens": 10, "output_tokens": 5}
        head = {"id": "m", "type": "message", "role": "assistant", "model": "c", "usage": usage}
        return Reply(body={**head, "stop_reason": stop, "content": content})

    def use(data: dict[str, Any]) -> Reply:
        return message([{"type": "tool_use", "id": "u1", "name": OUTPUT_TOOL, "input": data}], "tool_use")

    provider.says(use({"total": "x"}), use({"total": 4}))
    assert (await typed.ask(model="Claude")).data == {"total": 4}
    assert sent(provider)["tools"][-1]["input_schema"]["required"] == ["total"]


async def test_one_graph_serves_a_schema_and_the_oldest_goes(
    typed: Typed, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typed_output, "MOST_GRAPHS", 2)
    runner = typed.configure()
    provider.says(RIGHT)
    for schema in (TOTAL, dict(TOTAL), {**TOTAL, "title": "b"}, {**TOTAL, "title": "c"}, {**TOTAL, "title": "c"}):
        await typed.ask(schema)
    assert len(runner._typed._graphs) == 2
    provider.says(completion("Done."))
    await typed.run("untyped")
    assert len(runner._built) == 1


async def test_references_are_not_written_out(typed: Typed, provider: ScriptedProvider) -> None:
    """Written out, this schema would be larger than any memory."""
    steps: dict[str, Any] = {"s0": {"type": "object"}}
    for level in range(1, 60):
        part = {"$ref": f"#/$defs/s{level - 1}"}
        steps[f"s{level}"] = {"properties": {"a": part, "b": part}}
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/s59"}}, "$defs": steps}
    provider.says(gives({"a": {"b": {}}}))
    assert (await typed.ask(schema)).data == {"a": {"b": {}}}
    assert sent(provider)["tools"][-1]["function"]["parameters"] == schema


async def test_many_at_once_do_not_share_their_repairs(typed: Typed, provider: ScriptedProvider) -> None:
    typed.configure()
    provider.says(*[WRONG] * 8, RIGHT)
    answers = await asyncio.gather(*(typed.ask() for _ in range(8)))
    assert [answer.data for answer in answers] == [{"total": 1}] * 8
    assert len(provider.requests) == 16


async def test_text_that_no_encoding_takes_is_an_answer_like_another(typed: Typed, provider: ScriptedProvider) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    provider.says(gives('{"a": "half \\ud83d pair"}'))
    assert (await typed.ask(schema)).data == {"a": "half \ud83d pair"}
