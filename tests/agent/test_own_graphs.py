"""An agent that is a LangGraph graph, compiled already or made by a factory."""

import pytest

from agent.errors import AgentError
from agent.work import Answer, Turn
from tests.agent.conftest import Bench, OwnCode
from tests.agent.scripted_provider import ScriptedProvider, completion

HEAD = """\
from typing import Any, TypedDict
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from agent.context import current_context

def graph(state, node, **schemas):
    return StateGraph(state, **schemas).add_node("node", node).add_edge(START, "node").add_edge("node", END)

"""
MESSAGES = (
    HEAD
    + """\
class State(MessagesState):
    tone: str

async def node(state):
    said = await current_context().chat_model.ainvoke(state["messages"])
    return {"messages": [AIMessage(f"{said.text} ({state.get('tone')})")]}

compiled = graph(State, node).compile()
"""
)


async def test_a_graph_of_messages_is_given_the_conversation(
    bench: Bench, provider: ScriptedProvider, own_code: OwnCode
) -> None:
    own_code('[agents.mine]\nrun = "mine:compiled"\n', mine=MESSAGES)
    provider.says(completion("Hello."))
    history = (Turn(role="user", text="hi"), Turn(role="assistant", text="hello you"))
    assert await bench.answer("mine", "again", history=history) == Answer("Hello. (None)")
    told = [(m["role"], m["content"]) for m in provider.requests[0].body["messages"]]
    assert told == [("user", "hi"), ("assistant", "hello you"), ("user", "again")]
    assert bench.meter.usage.total_tokens == 15
    assert [step.kind for step in bench.steps] == ["model", "model"]
    assert await bench.answer("mine", {"tone": "kind"}) == Answer("Hello. (kind)")
    assert provider.requests[1].body["messages"][-1]["content"] == '{"tone": "kind"}'


@pytest.mark.parametrize(
    ("state", "returned", "given", "wanted"),
    [
        ("{'n': int, 'output': Any}", "{'output': state['n'] + 1}", {"n": 1}, Answer("2", 2)),
        ("{'n': int, 'answer': Any}", "{'answer': 'text'}", {"n": 1}, Answer("text")),
        ("{'n': int, 'm': int}", "{'m': 7}", {"n": 1}, Answer('{"n": 1, "m": 7}', {"n": 1, "m": 7})),
        ("{'message': str, 'answer': str}", "{'answer': state['message'] * 2}", "ab", Answer("abab")),
        ("{'input': str, 'output': dict}", "{'output': {'a': state['input']}}", "b", Answer('{"a": "b"}', {"a": "b"})),
    ],
)
async def test_a_graph_of_its_own_state(
    bench: Bench, own_code: OwnCode, state: str, returned: str, given: str | dict[str, int], wanted: Answer
) -> None:
    code = f"State = TypedDict('State', {state})\nasync def node(state):\n    return {returned}\n"
    own_code('[agents.mine]\nrun = "mine:made"\n', mine=HEAD + code + "made = graph(State, node).compile()\n")
    assert await bench.answer("mine", given) == wanted


@pytest.mark.parametrize(
    ("state", "returned", "given", "code", "detail"),
    [
        ("{'n': int}", "{}", "hi", "agent_refused", "The agent takes an input object and no message. It has: n."),
        ("{'n': int, 'm': int}", "{}", {"k": 1}, "agent_refused", "The agent's input has no 'k'. It has: n, m."),
        ("{'n': Any}", "{'n': object()}", {"n": 1}, "invalid_agent_answer",
         "The agent's own code answered with a dict that JSON cannot hold."),
        ("{'n': int}", "1 / 0", {"n": 1}, "agent_failed", "The agent's own code failed (ZeroDivisionError)."),
        ("{'n': int}", "current_context().chat_model.invoke('hi')", {"n": 1}, "agent_failed",
         "The agent's own code calls its model in a blocking way; write `await model.ainvoke(...)` in an async def."),
    ],
)  # fmt: skip
async def test_what_a_graph_cannot_do_is_told(
    bench: Bench, own_code: OwnCode, state: str, returned: str, given: str | dict[str, int], code: str, detail: str
) -> None:
    source = f"State = TypedDict('State', {state})\nasync def node(state):\n    return {returned}\n"
    own_code('[agents.mine]\nrun = "mine:made"\n', mine=HEAD + source + "made = graph(State, node).compile()\n")
    with pytest.raises(AgentError) as caught:
        await bench.answer("mine", given)
    assert (caught.value.code, caught.value.detail) == (code, detail)
    assert bench.meter.model_calls == 0


async def test_code_that_streams_makes_one_call_through_the_edge(
    bench: Bench, provider: ScriptedProvider, own_code: OwnCode
) -> None:
    code = (
        "async def node(state):\n"
        "    pieces = [piece.text async for piece in current_context().chat_model.astream('hi')]\n"
        "    return {'output': pieces}\n"
        "made = graph(TypedDict('State', {'message': str, 'output': list}), node).compile()\n"
    )
    own_code('[agents.mine]\nrun = "mine:made"\n', mine=HEAD + code)
    assert (await bench.answer("mine")).data == ["Done."]
    assert [request.body["stream"] for request in provider.requests] == [False]
    assert bench.meter.usage.total_tokens == 15


FACTORY = """\
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
MADE = []

class Quiet(AgentMiddleware):
    pass

def build(model, tools, prompt, middleware):
    MADE.append((prompt, [type(one).__name__ for one in middleware]))
    return create_agent(model, tools, system_prompt=prompt + "!", middleware=middleware)
"""


async def test_a_factory_gets_what_it_asks_for_and_is_called_once_a_model(
    bench: Bench, provider: ScriptedProvider, own_code: OwnCode, point_at: object
) -> None:
    own_code(
        '[agents.mine]\nrun = "mine:build"\nprompt = "Calculate"\ntools = ["calculator"]\nmiddleware = ["mine:Quiet"]\n'
        "max_iterations = 3\n",
        mine=FACTORY,
    )
    provider.says(completion(calls=[("calculator", {"expression": "6*7"})]), completion("42"))
    assert await bench.answer("mine", "6*7") == Answer("42")
    assert provider.requests[0].body["messages"][0] == {"role": "system", "content": "Calculate!"}
    assert [(step.kind, step.phase) for step in bench.steps if step.phase == "end"] == [
        ("model", "end"), ("tool", "end"), ("model", "end"),
    ]  # fmt: skip
    provider.says(completion(calls=[("calculator", {"expression": "6*7"})]))
    with pytest.raises(AgentError, match="max_iterations"):
        await bench.answer("mine", "6*7")
    assert bench.meter.model_calls == 3
    with pytest.raises(AgentError, match="provider_auth"):
        await bench.answer("mine", model="GPT")
    import mine  # type: ignore[import-not-found]  # noqa: PLC0415  it was written by this test

    assert mine.MADE == [("Calculate", ["Quiet"])]


async def test_a_model_that_calls_a_tool_of_another_agent_is_told_and_nothing_runs(
    bench: Bench, provider: ScriptedProvider, own_code: OwnCode
) -> None:
    own_code(
        '[agents.a]\nprompt = "x"\ntools = ["tools:danger"]\n[agents.b]\nprompt = "x"\ntools = ["calculator"]\n',
        tools="RAN = []\ndef danger(what: str) -> str:\n    '''Do it.'''\n    RAN.append(what)\n    return 'did it'\n",
    )
    provider.says(completion(calls=[("danger", {"what": "x"})]), completion("Done."))
    await bench.answer("a")
    assert provider.requests[-1].body["messages"][-1]["content"] == "did it"
    provider.says(completion(calls=[("danger", {"what": "y"})]), completion("Done."))
    await bench.answer("b")
    told = provider.requests[-1].body["messages"][-1]["content"]
    assert "danger is not a valid tool, try one of [calculator]" in told
    import tools  # type: ignore[import-not-found]  # noqa: PLC0415  it was written by this test

    assert tools.RAN == ["x"]


async def test_a_tool_that_another_agent_s_factory_was_given_is_refused_at_its_edge(
    bench: Bench, own_code: OwnCode
) -> None:
    own_code(
        '[agents.a]\nrun = "mine:build"\ntools = ["mine:danger"]\n[agents.b]\nrun = "mine:agent"\n',
        mine=HEAD
        + "GIVEN, RAN = [], []\n\ndef danger() -> str:\n    '''Do it.'''\n    RAN.append(1)\n    return 'did it'\n\n"
        "def build(tools):\n    GIVEN[:] = tools\n"
        "    async def node(state):\n        return {'output': await GIVEN[0].ainvoke({})}\n"
        "    return graph(TypedDict('State', {'message': str, 'output': str}), node).compile()\n\n"
        "async def agent(given, ctx):\n    return await GIVEN[0].ainvoke({})\n",
    )
    assert await bench.answer("a") == Answer("did it")
    refused = "The tool danger is not one that this agent may call, so nothing was done."
    assert await bench.answer("b") == Answer(refused)
    import mine  # noqa: PLC0415  it was written by this test

    assert mine.RAN == [1]
    assert [(step.phase, step.error) for step in bench.steps] == [("start", None), ("end", refused)]
