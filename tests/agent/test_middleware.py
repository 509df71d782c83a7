"""LangChain's middleware by the short names of the agents file, each in a run that it changes."""

import json

import pytest

from agent.errors import AgentError
from agent.middleware import _SHIPPED
from agent.work import Turn
from agents_config import MIDDLEWARE
from tests.agent.conftest import Bench, OwnCode
from tests.agent.scripted_provider import Reply, ScriptedProvider, completion

CALL = completion(calls=[("calculator", {"expression": "1+1"})])


def agent(use: str, **options: object) -> str:
    lines = [f"{name} = {json.dumps(value)}" for name, value in {"use": use, **options}.items()]
    head = '[agents.mine]\nprompt = "P."\ntools = ["calculator"]\n\n[[agents.mine.middleware]]\n'
    return head + "\n".join(lines) + "\n"


def test_every_name_is_one() -> None:
    assert sorted(_SHIPPED) == sorted(MIDDLEWARE)


async def test_pii_keeps_what_it_finds_from_the_model(
    bench: Bench, own_code: OwnCode, provider: ScriptedProvider
) -> None:
    own_code(agent("pii", pii_type="email", strategy="redact"))
    await bench.answer("mine", "I am ann@example.org")
    assert provider.requests[0].body["messages"][-1]["content"] == "I am [REDACTED_EMAIL]"


async def test_tool_call_limit_tells_the_model(bench: Bench, own_code: OwnCode, provider: ScriptedProvider) -> None:
    own_code(agent("tool_call_limit", run_limit=1))
    provider.says(CALL, CALL, completion("Done."))
    await bench.answer("mine")
    assert bench.meter.tool_calls == 1
    assert "limit exceeded" in provider.requests[2].body["messages"][-1]["content"]


async def test_model_call_limit_ends_the_run(bench: Bench, own_code: OwnCode, provider: ScriptedProvider) -> None:
    own_code(agent("model_call_limit", run_limit=2))
    provider.says(CALL)
    assert "limit" in (await bench.answer("mine")).text
    assert bench.meter.model_calls == len(provider.requests) == 2


async def test_todo_list_gives_the_model_its_tool(bench: Bench, own_code: OwnCode, provider: ScriptedProvider) -> None:
    own_code(agent("todo_list"))
    todos = [{"content": "count", "status": "in_progress"}]
    provider.says(completion(calls=[("write_todos", {"todos": todos})]), completion("Done."))
    await bench.answer("mine")
    offered = [tool["function"]["name"] for tool in provider.requests[0].body["tools"]]
    assert sorted(offered) == ["calculator", "write_todos"]
    assert "count" in provider.requests[1].body["messages"][-1]["content"]


async def test_context_editing_clears_old_tool_results(
    bench: Bench, own_code: OwnCode, provider: ScriptedProvider
) -> None:
    own_code(agent("context_editing", trigger=1, keep=1, placeholder="[gone]"))
    provider.says(CALL, CALL, completion("Done."))
    await bench.answer("mine")
    results = [m["content"] for m in provider.requests[2].body["messages"] if m["role"] == "tool"]
    assert results == ["[gone]", "2"]


async def test_summarization_s_own_call_is_metered_and_counts(
    bench: Bench, own_code: OwnCode, provider: ScriptedProvider
) -> None:
    own_code(agent("summarization", trigger=["messages", 3], keep=["messages", 1]))
    provider.says(CALL, completion("Asked for 1+1."), completion("Done."))
    assert (await bench.answer("mine", "please")).text == "Done."
    assert bench.meter.model_calls == len(provider.requests) == 3
    assert bench.meter.usage.total_tokens == 45
    assert "Asked for 1+1." in json.dumps(provider.requests[2].body["messages"])


OWN = """\
from langchain.agents.middleware import AgentMiddleware

class Marks(AgentMiddleware):
    def __init__(self, mark, model=None):
        super().__init__()
        self.mark = f"{mark} {type(model).__name__}"

    async def awrap_model_call(self, request, handler):
        if self.mark.startswith("fail"):
            raise ValueError("sk-secret")
        return await handler(request.override(system_message=None))

instance = Marks("ready")
def build(model, mark): return Marks(mark, model)
def fails(): return Marks("fail")
"""


@pytest.mark.parametrize(
    "use", ['"mine:instance"', '{ use = "mine:Marks", mark = "x" }', '{ use = "mine:build", mark = "x" }']
)
async def test_middleware_of_one_s_own(bench: Bench, own_code: OwnCode, provider: ScriptedProvider, use: str) -> None:
    own_code(f'[agents.mine]\nprompt = "P."\nmiddleware = [{use}]\n', mine=OWN)
    assert (await bench.answer("mine")).text == "Done."
    assert [m["role"] for m in provider.requests[0].body["messages"]] == ["user"]


async def test_middleware_of_one_s_own_that_raises_is_the_agent_s_failure(bench: Bench, own_code: OwnCode) -> None:
    own_code('[agents.mine]\nmiddleware = ["mine:fails"]\n', mine=OWN)
    with pytest.raises(AgentError) as caught:
        await bench.answer("mine")
    assert (caught.value.code, caught.value.detail) == ("agent_failed", "The agent's own code failed (ValueError).")


async def test_summarization_asks_once_and_leaves_it_to_the_queue_to_ask_again(
    bench: Bench, own_code: OwnCode, provider: ScriptedProvider
) -> None:
    own_code(agent("summarization", trigger=["messages", 2], keep=["messages", 1]))
    provider.says(Reply(503, {"error": {"message": "no"}}))
    history = (Turn(role="user", text="one"), Turn(role="assistant", text="two"))
    with pytest.raises(AgentError, match="provider_unavailable"):
        await bench.answer("mine", history=history)
    assert len(provider.requests) == 1
