"""An agent without tools whose model calls one: it is told, and what it wrote beside the call is no answer."""

from typing import Any

import pytest

from agent.errors import AgentError, ErrorCode
from tests.agent.conftest import Bench, OwnCode
from tests.agent.scripted_provider import ScriptedProvider, completion

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
CALLS = completion("Let me look.", calls=[("search", {"query": "x"}), ("get_time", {})])


@pytest.fixture(autouse=True)
def bare(own_code: OwnCode) -> None:
    own_code('[agents.bare]\nprompt = "Be brief."\nmax_iterations = 4\n')


def told(provider: ScriptedProvider) -> list[dict[str, Any]]:
    return [message for message in provider.requests[-1].body["messages"] if message["role"] == "tool"]


async def test_each_call_is_answered_and_the_model_asked_again(bench: Bench, provider: ScriptedProvider) -> None:
    provider.says(CALLS, CALLS, completion("Fine."))
    answer = await bench.answer("bare")
    assert answer.text == "Fine."
    assert [message["tool_call_id"] for message in told(provider)] == ["call_0_search", "call_1_get_time"] * 2
    assert "search is not a valid tool" in told(provider)[0]["content"]
    assert bench.meter.usage.total_tokens == 15 * 3


async def test_the_limit_of_model_calls_ends_it(bench: Bench, provider: ScriptedProvider) -> None:
    provider.says(CALLS)
    with pytest.raises(AgentError) as raised:
        await bench.answer("bare")
    assert raised.value.code == ErrorCode.MAX_ITERATIONS
    assert len(provider.requests) == 4


async def test_typed_output_is_still_to_come(bench: Bench, provider: ScriptedProvider) -> None:
    provider.says(CALLS, completion(calls=[("final_answer", {})]), completion(calls=[("final_answer", {"n": 1})]))
    answer = await bench.answer("bare", output_schema=SCHEMA)
    assert answer.data == {"n": 1}
    assert [message["tool_call_id"] for message in told(provider)][:2] == ["call_0_search", "call_1_get_time"]
    assert "does not satisfy the schema" in told(provider)[2]["content"]
