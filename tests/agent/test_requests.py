"""What LiteLLM sends to each provider, and what it makes of the usage and the price of an answer."""

import pytest

from core_config import MODEL_REGISTRY, ModelConfig
from tests.agent.conftest import Bench, PointAt
from tests.agent.scripted_provider import Reply, ScriptedProvider, completion

TOOLS = ["calculator", "get_time", "search"]
USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 200,
    "total_tokens": 1200,
    "prompt_tokens_details": {"cached_tokens": 600},
    "completion_tokens_details": {"reasoning_tokens": 50},
}


@pytest.mark.parametrize(
    ("name", "model", "extra"),
    [
        ("DeepSeek-V3", "deepseek-flash", {"max_tokens": 4000, "thinking": {"type": "disabled"}}),
        ("Qwen-Max", "qwen-max", {"max_tokens": 4000}),
        ("GPT", "gpt-6.1-sol", {"max_completion_tokens": 4000}),
        ("GPT-Small", "gpt-6-luna", {"max_completion_tokens": 4000}),
    ],
)
async def test_an_openai_shaped_request(
    bench: Bench, provider: ScriptedProvider, point_at: PointAt, name: str, model: str, extra: dict[str, object]
) -> None:
    point_at(name)
    await bench.run("What is 1+1?", model=name)
    (request,) = provider.requests
    assert (request.method, request.target) == ("POST", "/v1/chat/completions")
    variable = MODEL_REGISTRY[name].api_key_env
    assert variable
    assert request.headers["authorization"] == f"Bearer sk-test-{variable.lower()}-1f2e3d4c5b6a"
    body = dict(request.body)
    system, user = body.pop("messages")
    assert system["role"] == "system"
    assert "`calculator`" in system["content"]
    assert (user["role"], user["content"]) == ("user", "What is 1+1?")
    tools = body.pop("tools")
    assert [t["function"]["name"] for t in tools] == TOOLS
    assert tools[0]["function"]["parameters"]["required"] == ["expression"]
    assert tools[0]["function"]["parameters"]["properties"]["expression"]["type"] == "string"
    assert body == {"model": model, "stream": False, **extra}


async def test_an_anthropic_request_and_its_tool_loop(
    bench: Bench, provider: ScriptedProvider, point_at: PointAt
) -> None:
    point_at("Claude-Small", path="")

    def message(content: list[dict[str, object]], stop: str) -> Reply:
        return Reply(
            body={
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "claude",
                "content": content,
                "stop_reason": stop,
                "usage": {"input_tokens": 100, "output_tokens": 10, "cache_read_input_tokens": 30},
            }
        )

    call: dict[str, object] = {
        "type": "tool_use",
        "id": "toolu_1",
        "name": "calculator",
        "input": {"expression": "6*7"},
    }
    provider.says(message([call], "tool_use"), message([{"type": "text", "text": "42"}], "end_turn"))
    assert await bench.run("6*7?", model="Claude-Small") == "42"
    first, second = provider.requests
    assert first.target == "/v1/messages"
    assert first.headers["x-api-key"] == "sk-test-anthropic_api_key-1f2e3d4c5b6a"
    assert (first.body["model"], first.body["max_tokens"]) == ("claude-haiku-5-5", 4000)
    assert [tool["name"] for tool in first.body["tools"]] == TOOLS
    assert "`calculator`" in first.body["system"][0]["text"]
    result = second.body["messages"][-1]["content"][0]
    assert (result["type"], result["tool_use_id"]) == ("tool_result", "toolu_1")
    assert "42" in str(result["content"])
    assert bench.meter.usage.cached_tokens == 60
    assert bench.meter.usage.total_tokens == 2 * (100 + 30 + 10)
    assert bench.meter.cost_usd is not None
    assert bench.meter.cost_usd > 0


async def test_no_key_of_another_provider_reaches_a_keyless_server(
    bench: Bench, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-real-and-secret")
    await bench.run()
    assert provider.requests[0].headers["authorization"] == "Bearer none-needed"


@pytest.mark.parametrize(("limit", "setting", "sent"), [(1000, 4000, 1000), (8192, 4000, 4000), (8192, 9000, 8192)])
async def test_max_tokens_is_the_lesser_of_setting_and_limit(
    bench: Bench, provider: ScriptedProvider, point_at: PointAt, limit: int, setting: int, sent: int
) -> None:
    point_at("Qwen-Max", max_tokens_limit=limit)
    bench.configure(max_tokens_per_request=setting)
    await bench.run(model="Qwen-Max")
    assert provider.requests[0].body["max_tokens"] == sent


async def test_usage_is_summed_with_cached_and_reasoning_tokens(
    bench: Bench, provider: ScriptedProvider, point_at: PointAt
) -> None:
    point_at("GPT-Small")
    provider.says(completion(calls=[("get_time", {})], usage=USAGE), completion("Now.", usage=USAGE))
    await bench.run(model="GPT-Small")
    assert bench.meter.usage.as_dict() == {
        "prompt_tokens": 2000,
        "completion_tokens": 400,
        "total_tokens": 2400,
        "cached_tokens": 1200,
        "reasoning_tokens": 100,
    }
    # LiteLLM's table: USD 0.1 a million prompt tokens, a tenth of that when cached, 0.5 answered.
    assert bench.meter.cost_usd == pytest.approx(2 * (400 * 1e-7 + 600 * 1e-8 + 200 * 5e-7))


async def test_the_registry_s_prices_override_litellm_s(
    bench: Bench, provider: ScriptedProvider, point_at: PointAt
) -> None:
    point_at("GPT-Small", price_in=1.0, price_out=10.0)
    provider.says(completion("Now.", usage=USAGE))
    await bench.run(model="GPT-Small")
    assert bench.meter.cost_usd == pytest.approx(1000 * 1.0 / 1000 + 200 * 10.0 / 1000)


async def test_an_unknown_price_is_none_and_not_zero(
    bench: Bench, provider: ScriptedProvider, point_at: PointAt
) -> None:
    point_at("Local")
    await bench.run(model="Local")
    assert bench.meter.cost_usd is None
    assert (bench.meter.model, bench.meter.simulated) == ("Local", False)


@pytest.mark.parametrize("prices", [{}, {"price_in": 1.0, "price_out": 2.0}])
async def test_an_answer_without_usage_has_an_unknown_cost(
    bench: Bench, provider: ScriptedProvider, point_at: PointAt, prices: dict[str, float]
) -> None:
    point_at("GPT-Small", **prices)
    answer = completion("Done.").body
    assert isinstance(answer, dict)
    provider.says(Reply(body={key: value for key, value in answer.items() if key != "usage"}))
    await bench.run(model="GPT-Small")
    assert (bench.meter.cost_usd, bench.meter.usage.total_tokens) == (None, 0)


async def test_a_simulated_answer_costs_nothing_and_says_what_it_is(bench: Bench) -> None:
    await bench.run()
    assert bench.meter.cost_usd == 0.0
    assert bench.meter.simulated


async def test_params_reach_the_request(
    bench: Bench, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = ModelConfig(
        litellm_id="openai/some-model", base_url=provider.url, params={"temperature": 0.2, "extra_body": {"top_k": 3}}
    )
    monkeypatch.setitem(MODEL_REGISTRY, "Mine", entry)
    await bench.run(model="Mine")
    body = provider.requests[0].body
    assert (body["model"], body["temperature"], body["top_k"]) == ("some-model", 0.2, 3)
