"""A model that is streamed, over real HTTP: what is told of its words, and that it ends as an unstreamed call does."""

import asyncio
import json
from typing import Any

import pytest

from agent.errors import AgentError
from agent.typed_output import OUTPUT_TOOL
from core_config import SIMULATOR
from tests.agent.conftest import Bench, Install, OwnCode, PointAt
from tests.agent.scripted_provider import Reply, ScriptedProvider, completion, eventually
from tests.agent.test_fallbacks import Chain, chain, error

__all__ = ["chain"]

# agent.quiet_litellm silences it, but pytest makes all warnings new
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.PydanticDeprecationWarning:litellm")

USAGE = {
    "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2},
}  # fmt: skip


def event(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}


def stream(*events: dict[str, Any] | str, done: bool = True, how: Any = "whole") -> Reply:
    """Server-sent events; a text is sent as it is."""
    lines = [one if isinstance(one, str) else f"data: {json.dumps(one)}" for one in events]
    body = "\n\n".join([*lines, *(["data: [DONE]"] if done else [])]) + "\n\n"
    return Reply(body=body, headers={"content-type": "text/event-stream"}, how=how)


def words(*pieces: str, usage: dict[str, Any] | None = USAGE, finish: str = "stop") -> Reply:
    begin = event({"role": "assistant", "content": ""})
    end = [event({}, finish), *([event(usage=usage)] if usage else [])]
    return stream(begin, *(event({"content": piece}) for piece in pieces), *end)


def calls(name: str, *arguments: str, finish: str = "tool_calls") -> Reply:
    call = {"index": 0, "id": "call_0", "type": "function", "function": {"name": name, "arguments": ""}}
    more = [event({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}) for piece in arguments]
    begin = event({"role": "assistant", "content": None, "tool_calls": [call]})
    return stream(begin, *more, event({}, finish), event(usage=USAGE))


class Reader(list[tuple[int, str, str]]):
    """The tokens that a run told of: step, kind, text."""

    def __call__(self, number: int, kind: str, text: str) -> None:
        self.append((number, kind, text))


@pytest.fixture
def read() -> Reader:
    return Reader()


async def failure(bench: Bench, read: Reader, agent: str = "default") -> str:
    with pytest.raises(AgentError) as caught:
        await bench.answer(agent, on_token=read)
    return caught.value.code


async def test_each_word_is_told_with_its_step_and_usage_is_the_providers(
    bench: Bench, provider: ScriptedProvider, read: Reader
) -> None:
    provider.says(calls("calculator", '{"expression"', ': "6 * 7"}'), words("It", " is", " 42."))
    assert (await bench.answer("default", "What is 6 * 7?", on_token=read)).text == "It is 42."
    assert read == [(3, "text", "It"), (3, "text", " is"), (3, "text", " 42.")]
    first, second = (request.body for request in provider.requests)
    assert (first["stream"], first["stream_options"]) == (True, {"include_usage": True})
    assert second["messages"][-1]["content"] == "42"
    usage = bench.meter.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.reasoning_tokens) == (20, 10, 8, 4)


async def test_without_a_reader_nothing_is_streamed(bench: Bench, provider: ScriptedProvider) -> None:
    await bench.answer("default")
    assert not provider.requests[0].body.get("stream")


async def test_steps_answer_and_what_is_sent_next_are_as_of_an_unstreamed_run(
    bench: Bench, provider: ScriptedProvider, read: Reader
) -> None:
    usage = dict(USAGE)
    provider.says(
        completion(calls=[("calculator", {"expression": "6 * 7"})], usage=usage), completion("It is 42.", usage=usage)
    )
    plain = await bench.answer("default", "What is 6 * 7?")
    told, meter = bench.steps, bench.meter
    provider.says(calls("calculator", '{"expression"', ': "6 * 7"}'), words("It", " is 42."))
    assert await bench.answer("default", "What is 6 * 7?", on_token=read) == plain
    assert (bench.meter.usage, bench.meter.cost_usd, bench.meter.partial) == (meter.usage, meter.cost_usd, "It is 42.")

    def known(steps: list[Any]) -> list[Any]:
        return [(one.number, one.kind, one.phase, one.result, one.error, one.usage, one.cost_usd) for one in steps]

    assert known(bench.steps) == known(told)
    sent = [{**request.body, "messages": _without_ids(request.body["messages"])} for request in provider.requests]
    for body in sent:
        body.pop("stream", None)
        body.pop("stream_options", None)
    assert sent[2:] == sent[:2]


def _without_ids(messages: list[dict[str, Any]]) -> Any:
    return json.loads(json.dumps(messages).replace("call_0_calculator", "call_0"))


@pytest.mark.parametrize("model", ["DeepSeek-V3", "Qwen-Max", "GPT"])
async def test_the_cost_of_a_stream_is_that_of_the_same_answer_unstreamed(
    bench: Bench, provider: ScriptedProvider, point_at: PointAt, read: Reader, model: str
) -> None:
    """Of models whose price only LiteLLM's table knows."""
    point_at(model)
    costs = []
    for reply, reader in ((completion("Hi you", usage=USAGE), None), (words("Hi", " you"), read)):
        provider.says(reply)
        await bench.answer("default", model=model, on_token=reader)
        costs.append(bench.meter.cost_usd)
    assert costs[0]
    assert costs == [costs[0]] * 2


async def test_reasoning_is_told_apart_from_text(bench: Bench, provider: ScriptedProvider, read: Reader) -> None:
    thought = (event({"role": "assistant", "reasoning_content": "Well"}), event({"reasoning_content": ", hm."}))
    provider.says(stream(*thought, event({"content": "Hi"}), event({}, "stop"), event(usage=USAGE)))
    assert (await bench.answer("default", on_token=read)).text == "Hi"
    assert read == [(1, "reasoning", "Well"), (1, "reasoning", ", hm."), (1, "text", "Hi")]


async def test_usage_that_comes_with_every_event_is_counted_once(
    bench: Bench, provider: ScriptedProvider, read: Reader
) -> None:
    def so_far(count: int) -> dict[str, int]:
        return {"prompt_tokens": 10, "completion_tokens": count, "total_tokens": 10 + count}

    provider.says(
        stream(
            event({"role": "assistant", "content": "Hi"}, usage=so_far(1)),
            event({"content": " you"}, usage=so_far(4)),
            event({}, "stop", usage=so_far(5)),
        )
    )
    await bench.answer("default", on_token=read)
    assert (bench.meter.usage.prompt_tokens, bench.meter.usage.completion_tokens) == (10, 5)


async def test_usage_that_the_provider_did_not_report_is_unknown_and_not_made_up(
    bench: Bench, provider: ScriptedProvider, point_at: PointAt, read: Reader
) -> None:
    point_at("GPT")
    provider.says(words("Hi", " you", usage=None))
    assert (await bench.answer("default", model="GPT", on_token=read)).text == "Hi you"
    assert (bench.meter.usage.total_tokens, bench.meter.cost_usd) == (0, None)


@pytest.mark.parametrize(
    "arguments", [('{"expression": "6 * ',), ("6 * 7",), ('["6 * 7"]',), ('{"expression": "6 * 7"}}',)]
)
async def test_a_call_whose_arguments_were_cut_off_is_not_mended_and_made(
    bench: Bench, provider: ScriptedProvider, read: Reader, arguments: tuple[str, ...]
) -> None:
    provider.says(calls("calculator", *arguments), words("Done."))
    assert await failure(bench, read) == "provider_bad_response"
    assert bench.meter.tool_calls == 0
    provider.says(calls("calculator", *arguments, finish="length"), words("Done."))
    assert await failure(bench, read) == "answer_truncated"


async def test_a_call_without_arguments_and_several_calls_of_one_turn(
    bench: Bench, provider: ScriptedProvider, read: Reader
) -> None:
    def call(index: int, name: str) -> dict[str, Any]:
        return {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": ""}}

    both = event({"role": "assistant", "content": None, "tool_calls": [call(0, "get_time")]})
    more = [
        event({"tool_calls": [call(1, "calculator")]}),
        event({"tool_calls": [{"index": 1, "function": {"arguments": '{"expression": "1 + 1"}'}}]}),
    ]
    provider.says(stream(both, *more, event({}, "tool_calls"), event(usage=USAGE)), words("Done."))
    await bench.answer("default", on_token=read)
    told = [one for one in provider.requests[1].body["messages"] if one["role"] == "tool"]
    assert [one["tool_call_id"] for one in told] == ["call_0", "call_1"]
    assert told[1]["content"] == "2"


HALF = event({"role": "assistant", "content": "Half of"})
ENDS = {
    "the connection breaks": (stream(HALF, HALF, done=False, how="half"), "provider_bad_response"),
    "it ends without an end": (stream(HALF, done=False), "provider_bad_response"),
    "an event is cut off": (
        stream(HALF, 'data: {"choices": [{"delta": {"content": "', event({}, "stop"), event(usage=USAGE)),
        "provider_bad_response",
    ),
    "an error in the stream": (
        stream(HALF, {"error": {"message": "boom", "type": "server_error", "code": 500}}),
        "provider_unavailable",
    ),
    "a limit in the stream": (
        stream(HALF, {"error": {"message": "slow down", "type": "rate_limit", "code": 429}}),
        "provider_rate_limited",
    ),
    "nothing": (Reply(body="", headers={"content-type": "text/event-stream"}), "provider_bad_response"),
    "no words": (words(), "empty_answer"),
    "the limit of tokens": (words("Half of", finish="length"), "answer_truncated"),
    "a filter": (words("Half of", finish="content_filter"), "content_blocked"),
    "an error before it": (error(429), "provider_rate_limited"),
}


@pytest.mark.parametrize("name", ENDS)
async def test_a_stream_that_does_not_end_well_is_no_answer(
    bench: Bench, provider: ScriptedProvider, read: Reader, name: str
) -> None:
    reply, code = ENDS[name]
    provider.says(reply, words("Never asked."))
    assert await failure(bench, read) == code
    assert len(provider.requests) == 1, "the queue retries, and nobody else"
    ends = [one for one in bench.steps if one.phase == "end"]
    assert len(ends) == 1


async def test_a_stream_that_stops_is_a_timeout(bench: Bench, provider: ScriptedProvider, read: Reader) -> None:
    bench.configure(model_timeout_seconds=0.5)
    provider.says(Reply(headers={"content-type": "text/event-stream"}, how="drip"))
    assert await failure(bench, read) == "provider_timeout"
    await eventually(lambda: provider.closed_early == 1)


async def test_a_cancel_in_the_middle_of_a_stream_ends_the_call(
    bench: Bench, provider: ScriptedProvider, read: Reader
) -> None:
    provider.says(Reply(headers={"content-type": "text/event-stream"}, how="drip"))
    running = asyncio.create_task(bench.answer("default", on_token=read))
    await eventually(lambda: len(provider.requests) == 1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await eventually(lambda: provider.closed_early == 1)
    assert [one.error for one in bench.steps if one.phase == "end"] == ["cancelled"]


async def test_after_a_fallback_the_words_of_the_failed_step_are_followed_by_anothers(
    chain: Chain, read: Reader
) -> None:
    chain.says(A=[stream(HALF, HALF, HALF, HALF, done=False, how="half")], B=[words("All", " of it.")])
    answer = await chain.bench.answer("default", "hello", model="A", on_token=read)
    assert answer.text == "All of it."
    assert [(number, text) for number, _, text in read if number == 2] == [(2, "All"), (2, " of it.")]
    assert {number for number, _, _ in read} <= {1, 2}
    ends = {one.number: one.error for one in chain.bench.steps if one.phase == "end"}
    assert ends == {1: "provider_bad_response", 2: None}


async def test_an_answer_as_data_is_no_text(bench: Bench, provider: ScriptedProvider, read: Reader) -> None:
    schema = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}
    provider.says(calls(OUTPUT_TOOL, '{"total"', ": 42}"))
    answer = await bench.answer("default", output_schema=schema, on_token=read)
    assert answer.data == {"total": 42}
    assert read == []
    provider.says(calls(OUTPUT_TOOL, '{"total"', ': "x"}'), calls(OUTPUT_TOOL, '{"total": 7}'))
    assert (await bench.answer("default", output_schema=schema, on_token=read)).data == {"total": 7}


async def test_a_functions_model_and_a_graphs_are_streamed_too(
    bench: Bench, provider: ScriptedProvider, own_code: OwnCode, read: Reader
) -> None:
    own_code(
        '[agents.mine]\nrun = "mine:agent"\n[agents.graph]\nrun = "graph:make"\n',
        mine="async def agent(given, ctx):\n    return await ctx.model(given) + '!'\n",
        graph="from langgraph.graph import END, START, MessagesState, StateGraph\n\n"
        "def make(model):\n"
        "    async def think(state):\n"
        "        async for chunk in model.astream(state['messages']):\n"
        "            whole = chunk\n"
        "        return {'messages': [whole]}\n"
        "    graph = StateGraph(MessagesState)\n"
        "    graph.add_node('think', think)\n"
        "    graph.add_edge(START, 'think')\n"
        "    graph.add_edge('think', END)\n"
        "    return graph.compile()\n",
    )
    provider.says(words("Hi", " you"))
    assert (await bench.answer("mine", on_token=read)).text == "Hi you!"
    assert (await bench.answer("graph", on_token=read)).text == "Hi you"
    assert read == [(1, "text", "Hi"), (1, "text", " you")] * 2


async def test_a_listener_that_raises_costs_the_run_nothing(
    bench: Bench, provider: ScriptedProvider, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no")

    provider.says(words("Hi"))
    assert (await bench.answer("default", model=SIMULATOR, on_token=broken)).text == "Hi"
    assert "token_listener_failed" in caplog.messages


async def test_tools_see_no_difference(
    bench: Bench, provider: ScriptedProvider, install: Install, read: Reader
) -> None:
    async def both(left: str, right: list[int]) -> str:
        """Takes two."""
        return f"{left} {right}"

    install(both)
    provider.says(calls("both", '{"left": "ä\\n', '\\"x", "right"', ": [1, 2]}"), words("Done."))
    await bench.answer("probe", on_token=read)
    assert provider.requests[1].body["messages"][-1]["content"] == 'ä\n"x [1, 2]'
