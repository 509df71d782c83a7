"""The wire as the official `openai` client reads it: answers, streams, tool calls and its error classes."""

import json
import time

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionChunk

from tests.simulator.server import CALCULATOR, GET_TIME, TOOLS, Server, user


async def test_an_answer_is_whole_and_says_that_it_is_simulated(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="simulator", messages=[user("Tell me a story")])
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-sim")
    assert answer.model == "simulator"
    assert answer.system_fingerprint == "simulated"
    assert abs(answer.created - time.time()) < 60
    (choice,) = answer.choices
    assert choice.finish_reason == "stop"
    assert choice.message.role == "assistant"
    assert choice.message.content is not None
    assert choice.message.content.startswith("[simulated] ")
    assert choice.message.tool_calls is None
    usage = answer.usage
    assert usage is not None
    assert usage.prompt_tokens > 0
    assert usage.completion_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 0
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 0


async def test_another_models_name_is_marked(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="gpt-4o", messages=[user("Hi")])
    assert answer.model == "simulated-gpt-4o"


async def test_a_tool_call_and_its_answer(client: AsyncOpenAI) -> None:
    messages = [user("Compute 42 * 1337 + 100")]
    first = await client.chat.completions.create(model="simulator", messages=messages, tools=TOOLS)
    assert first.choices[0].finish_reason == "tool_calls"
    assert first.choices[0].message.content is None
    (call,) = first.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.id.startswith("call_")
    assert call.function.name == "calculator"
    assert json.loads(call.function.arguments) == {"expression": "42 * 1337 + 100"}

    messages.append(first.choices[0].message.model_dump(exclude_none=True))
    messages.append({"role": "tool", "tool_call_id": call.id, "content": "56254"})
    last = await client.chat.completions.create(model="simulator", messages=messages, tools=TOOLS)
    assert last.choices[0].finish_reason == "stop"
    assert "56254" in (last.choices[0].message.content or "")


async def test_calls_of_one_turn_have_ids_of_their_own(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="simulator", messages=[user("What time is it, and compute 2+2 and 3*3")], tools=TOOLS
    )
    calls = answer.choices[0].message.tool_calls or []
    assert [call.function.name for call in calls if call.type == "function"] == ["get_time", "calculator", "calculator"]
    assert len({call.id for call in calls}) == 3


async def collect(client: AsyncOpenAI, **body: object) -> list[ChatCompletionChunk]:
    stream = await client.chat.completions.create(model="simulator", stream=True, **body)  # type: ignore[call-overload]  # the body is the test's parameter
    return [chunk async for chunk in stream]


async def test_a_stream_says_what_the_answer_says(client: AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="simulator", messages=[user("你好")])
    chunks = await collect(client, messages=[user("你好")], stream_options={"include_usage": True})
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk.system_fingerprint for chunk in chunks} == {"simulated"}
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert text.startswith("[模拟] ")
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert whole.usage is not None
    # One event a token, besides the one with the role, the one with the reason and the one with the usage.
    assert len(chunks) == whole.usage.completion_tokens + 3


async def test_a_stream_has_no_usage_unless_asked(client: AsyncOpenAI) -> None:
    chunks = await collect(client, messages=[user("Hi")])
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


async def test_streamed_tool_calls_come_in_pieces(client: AsyncOpenAI) -> None:
    chunks = await collect(client, messages=[user("Compute 123 * 456 and tell me the time")], tools=TOOLS)
    arguments: dict[int, str] = {}
    names: dict[int, str | None] = {}
    ids: dict[int, str | None] = {}
    for chunk in chunks:
        for piece in chunk.choices[0].delta.tool_calls or []:
            assert piece.function is not None
            names.setdefault(piece.index, piece.function.name)
            ids.setdefault(piece.index, piece.id)
            arguments[piece.index] = arguments.get(piece.index, "") + (piece.function.arguments or "")
    assert names == {0: "calculator", 1: "get_time"}
    assert all(call_id and call_id.startswith("call_") for call_id in ids.values())
    assert json.loads(arguments[0]) == {"expression": "123 * 456"}
    assert json.loads(arguments[1]) == {}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    assert sum(bool(chunk.choices[0].delta.tool_calls) for chunk in chunks) > 4


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_the_token_limit_is_kept(client: AsyncOpenAI, name: str) -> None:
    answer = await client.chat.completions.create(model="simulator", messages=[user("Hi")], extra_body={name: 7})
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 7
    assert (answer.choices[0].message.content or "").startswith("[simulated]")


async def test_the_limit_cuts_tool_arguments_too(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="simulator", messages=[user("Compute 1 + 2 + 3 + 4 + 5")], tools=TOOLS, max_tokens=8
    )
    assert answer.choices[0].finish_reason == "length"
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.arguments
    with pytest.raises(json.JSONDecodeError):
        json.loads(call.function.arguments)


async def test_the_models_list(client: AsyncOpenAI) -> None:
    models = await client.models.list()
    assert [(model.id, model.owned_by) for model in models.data] == [("simulator", "simulated")]


async def test_tool_choice(client: AsyncOpenAI) -> None:
    create = client.chat.completions.create
    none = await create(model="simulator", messages=[user("Compute 1+1")], tools=TOOLS, tool_choice="none")
    assert none.choices[0].message.tool_calls is None
    required = await create(model="simulator", messages=[user("Hi")], tools=[GET_TIME], tool_choice="required")
    assert required.choices[0].finish_reason == "tool_calls"
    named = await create(
        model="simulator",
        messages=[user("What time is it?")],
        tools=TOOLS,
        tool_choice={"type": "function", "function": {"name": "calculator"}},
    )
    (call,) = named.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "calculator"
    assert "expression" in json.loads(call.function.arguments)


async def test_one_call_at_a_time_when_parallel_calls_are_off(client: AsyncOpenAI) -> None:
    messages = [user("Compute 2+2 and 3*3")]
    asked = []
    for _ in range(2):
        answer = await client.chat.completions.create(
            model="simulator", messages=messages, tools=[CALCULATOR], parallel_tool_calls=False
        )
        (call,) = answer.choices[0].message.tool_calls or []
        assert call.type == "function"
        asked.append(json.loads(call.function.arguments)["expression"])
        messages.append(answer.choices[0].message.model_dump(exclude_none=True))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": f"result {len(asked)}"})
    assert asked == ["2+2", "3*3"]
    last = await client.chat.completions.create(
        model="simulator", messages=messages, tools=[CALCULATOR], parallel_tool_calls=False
    )
    assert "result 1" in (last.choices[0].message.content or "")
    assert "result 2" in (last.choices[0].message.content or "")


@pytest.mark.parametrize(
    ("directive", "error"),
    [
        ("status=400", openai.BadRequestError),
        ("status=401", openai.AuthenticationError),
        ("status=403", openai.PermissionDeniedError),
        ("status=404", openai.NotFoundError),
        ("status=409", openai.ConflictError),
        ("status=422", openai.UnprocessableEntityError),
        ("status=429", openai.RateLimitError),
        ("status=500", openai.InternalServerError),
        ("status=503", openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_error_classes(
    client: AsyncOpenAI, directive: str, error: type[openai.APIStatusError], stream: bool
) -> None:
    with pytest.raises(error) as caught:
        await client.chat.completions.create(model="simulator", messages=[user(f"Hi [[{directive}]]")], stream=stream)
    assert caught.value.status_code == int(directive.removeprefix("status="))
    assert "Simulated error" in caught.value.message


async def test_retry_after_is_sent(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        await client.chat.completions.create(model="simulator", messages=[user("[[status=429 retry_after=2]]")])
    assert caught.value.response.headers["retry-after"] == "2"


async def test_a_hang_ends_in_the_clients_timeout(client: AsyncOpenAI, simulator: Server) -> None:
    with pytest.raises(openai.APITimeoutError):
        await client.chat.completions.create(model="simulator", messages=[user("client-timeout [[hang]]")], timeout=0.2)
    assert simulator.call("client-timeout", outcome="disconnected")["status"] is None


@pytest.mark.parametrize("fault", ["half", "broken_stream"])
async def test_a_cut_connection_is_an_error(client: AsyncOpenAI, fault: str) -> None:
    with pytest.raises(openai.APIConnectionError):
        await client.chat.completions.create(model="simulator", messages=[user(f"Hi [[{fault}]]")])
