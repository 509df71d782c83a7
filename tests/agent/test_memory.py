"""How much of a session a run is given: the last turns that fit, whole; all of them when a summarizer shortens them."""

import json

import pytest

from agent.memory import trimmed
from agent.work import Turn
from tests.agent.conftest import Bench, OwnCode
from tests.agent.scripted_provider import ScriptedProvider, completion


def turns(*pairs: tuple[str, str]) -> tuple[Turn, ...]:
    return tuple(
        turn for said, answer in pairs for turn in (Turn(role="user", text=said), Turn(role="assistant", text=answer))
    )


TEN = turns(*((f"question {number} " + "x" * 81, f"answer {number} " + "x" * 80) for number in range(10)))
"""Thirty tokens a question and 29 an answer, and four more a message: 67 a turn."""


def said(provider: ScriptedProvider, call: int = 0) -> list[str]:
    return [message["content"] for message in provider.requests[call].body["messages"] if message["role"] != "system"]


@pytest.mark.parametrize(("tokens", "kept"), [(100_000, 10), (201, 3), (200, 2), (67, 1), (66, 0), (0, 0)])
async def test_a_run_is_given_the_last_turns_that_fit(
    tokens: int, kept: int, bench: Bench, provider: ScriptedProvider
) -> None:
    bench.configure(session_max_tokens=tokens)
    await bench.run("and now?", history=TEN)
    assert said(provider) == [*(turn.text for turn in TEN[20 - 2 * kept :]), "and now?"]


def test_a_turn_is_never_split() -> None:
    """Where only the answer fits, the question would be missing: neither is given."""
    history = turns(("short", "short"), ("q" * 3000, "short"))
    assert trimmed(history, 100) == ()
    assert trimmed(history, 1100) == history
    assert trimmed((), 100) == ()


def test_letters_that_are_many_bytes_count_as_much() -> None:
    chinese, english = turns(("会" * 300, "话")), turns(("a" * 300, "b"))
    assert trimmed(chinese, 200) == ()
    assert trimmed(english, 200) == english


def test_half_an_emoji_can_be_counted() -> None:
    assert len(trimmed(turns(("\ud83d", "x")), 100)) == 2


GRAPH = """\
from langgraph.graph import END, START, MessagesState, StateGraph

def build():
    graph = StateGraph(MessagesState)
    graph.add_node("count", lambda state: {"messages": [("ai", str(len(state["messages"])))]})
    graph.add_edge(START, "count")
    graph.add_edge("count", END)
    return graph.compile()

async def function(message, ctx):
    return str(len(ctx.task.history))
"""


@pytest.mark.parametrize(("agent", "answer"), [("build", "7"), ("function", "6")])
async def test_agents_that_are_code_are_given_as_much(agent: str, answer: str, bench: Bench, own_code: OwnCode) -> None:
    own_code(f'[agents.mine]\nrun = "mine:{agent}"\n', mine=GRAPH)
    bench.configure(session_max_tokens=205)
    assert (await bench.answer("mine", "and now?", history=TEN)).text == answer


async def test_an_agent_with_a_summarizer_is_given_all_to_summarize(
    bench: Bench, own_code: OwnCode, provider: ScriptedProvider
) -> None:
    own_code(
        '[agents.mine]\nprompt = "P."\n\n[[agents.mine.middleware]]\n'
        'use = "summarization"\ntrigger = ["messages", 10]\nkeep = ["messages", 3]\n'
    )
    provider.says(completion("They asked ten questions."), completion("Done."))
    bench.configure(session_max_tokens=205)
    assert (await bench.answer("mine", "and now?", history=TEN)).text == "Done."
    assert "question 0" in json.dumps(provider.requests[0].body["messages"]), "the summarizer sees the beginning"
    summary, *rest = said(provider, 1)
    assert "They asked ten questions." in summary
    assert rest == [TEN[-2].text, TEN[-1].text, "and now?"]
