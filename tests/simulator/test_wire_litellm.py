"""The same wire through LiteLLM's `openai/` provider, the way Longhaul's workers reach it."""

import importlib
import json
import os
import warnings
from typing import Any

import pytest

from tests.simulator.server import TOOLS, Server, user

# LiteLLM's own models warn when pydantic first builds and serialises them: not about what we sent.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:pydantic"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def litellm() -> Any:
    """LiteLLM without its look-up of prices on the network, which is decided when it is imported."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what its own dependencies say at import is not about us
        return importlib.import_module("litellm")


async def complete(litellm: Any, simulator: Server, text: str, **options: Any) -> Any:
    return await litellm.acompletion(
        "openai/simulator",
        messages=options.pop("messages", [user(text)]),
        api_base=simulator.url,
        api_key="sim",
        max_retries=0,
        timeout=10,
        **options,
    )


async def test_a_tool_loop(litellm: Any, simulator: Server) -> None:
    messages = [user("Compute (123 * 456 + 789) / 3")]
    first = await complete(litellm, simulator, "", messages=messages, tools=TOOLS)
    assert first.choices[0].finish_reason == "tool_calls"
    (call,) = first.choices[0].message.tool_calls
    assert call.function.name == "calculator"
    assert json.loads(call.function.arguments) == {"expression": "(123 * 456 + 789) / 3"}
    messages += [
        first.choices[0].message.model_dump(),
        {"role": "tool", "tool_call_id": call.id, "content": "18959.0"},
    ]
    last = await complete(litellm, simulator, "", messages=messages, tools=TOOLS)
    assert "18959" in last.choices[0].message.content
    assert last.system_fingerprint == "simulated"
    assert "simulat" in last.model


async def test_usage_with_cached_and_reasoning_tokens(litellm: Any, simulator: Server) -> None:
    answer = await complete(litellm, simulator, "Hello there [[cached=3 reasoning=11]]")
    assert answer.usage.prompt_tokens_details.cached_tokens == 3
    assert answer.usage.completion_tokens_details.reasoning_tokens == 11
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.completion_tokens > 11


async def test_a_stream_with_usage(litellm: Any, simulator: Server) -> None:
    whole = await complete(litellm, simulator, "Hello")
    stream = await complete(litellm, simulator, "Hello", stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    (usage,) = [chunk.usage for chunk in chunks if getattr(chunk, "usage", None)]
    assert (usage.prompt_tokens, usage.completion_tokens) == (whole.usage.prompt_tokens, whole.usage.completion_tokens)


async def test_streamed_tool_calls(litellm: Any, simulator: Server) -> None:
    stream = await complete(litellm, simulator, "搜索一下 Redis 流，然后计算 6×7", tools=TOOLS, stream=True)
    chunks = [chunk async for chunk in stream]
    built = litellm.stream_chunk_builder(chunks)
    calls = [(call.function.name, json.loads(call.function.arguments)) for call in built.choices[0].message.tool_calls]
    assert calls == [("search", {"query": "Redis 流"}), ("calculator", {"expression": "6*7"})]
    assert built.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("directive", "error", "said"),
    [
        ("status=401", "AuthenticationError", "401"),
        ("status=404", "NotFoundError", "404"),
        ("status=429", "RateLimitError", "429"),
        ("status=500", "InternalServerError", "500"),
        ("status=503", "ServiceUnavailableError", "503"),
        ("error=deepseek_no_balance", "BadRequestError", "Insufficient Balance"),
        ("error=dashscope_arrearage", "BadRequestError", "account is in good standing"),
        ("error=deepseek_content_risk", "BadRequestError", "Content Exists Risk"),
        ("error=dashscope_data_inspection", "BadRequestError", "inappropriate content"),
        ("error=deepseek_unknown_model", "BadRequestError", "Model Not Exist"),
        ("error=openai_context_length", "ContextWindowExceededError", "maximum context length"),
    ],
)
async def test_errors_keep_their_text(litellm: Any, simulator: Server, directive: str, error: str, said: str) -> None:
    with pytest.raises(Exception, match=said) as caught:
        await complete(litellm, simulator, f"Hi [[{directive}]]")
    assert isinstance(caught.value, getattr(litellm, error)), repr(caught.value)
    calls = simulator.journal(match=directive)["calls"]
    assert [call["outcome"] for call in calls] == ["failed"], "one call, made once"
