"""Answers that were written beforehand."""

from typing import Any

import httpx
import pytest

from tests.simulator.server import CALCULATOR, TOOLS, Server, running, user


def script(simulator: Server, *answers: Any) -> httpx.Response:
    return simulator.http.post(f"{simulator.root}/script", json={"answers": answers})


def left(simulator: Server) -> int:
    count: int = simulator.http.get(f"{simulator.root}/script").json()["left"]
    return count


def test_answers_are_given_in_order_each_once(simulator: Server) -> None:
    assert script(simulator, {"text": "One."}, {"text": "Two."}).json() == {"left": 2}
    said = [simulator.say("What is 6 * 7?")["content"] for _ in range(3)]
    assert said[:2] == ["One.", "Two."]
    assert said[2].startswith("[simulated]")


def test_tool_calls_are_asked_for_as_written(simulator: Server) -> None:
    script(simulator, {"calls": [{"name": "calculator", "arguments": {"expression": "1 + 1"}}]}, {"text": "Two."})
    (call,) = simulator.say("hello", tools=TOOLS)["tool_calls"]
    assert call["function"] == {"name": "calculator", "arguments": '{"expression":"1 + 1"}'}
    turn = [user("hello"), {"role": "assistant", "tool_calls": [call]}]
    told = {"role": "tool", "tool_call_id": call["id"], "content": "2"}
    assert simulator.message(messages=[*turn, told], tools=[CALCULATOR])["content"] == "Two."


def test_an_answer_waits_for_the_message_it_is_for(simulator: Server) -> None:
    script(simulator, {"match": "pear", "text": "A pear."}, {"text": "Anything."})
    assert [simulator.say(fruit)["content"] for fruit in ("apple", "pear")] == ["Anything.", "A pear."]
    assert left(simulator) == 0


def test_directives_hold_for_one_answer(simulator: Server) -> None:
    script(simulator, {"do": "status=503"}, {"text": "Cut me short.", "do": "cut"})
    assert simulator.post("hello").status_code == 503
    (choice,) = simulator.post("hello").json()["choices"]
    assert choice["finish_reason"] == "length"
    assert simulator.post("hello").status_code == 200


def test_what_is_left_can_be_forgotten(simulator: Server) -> None:
    script(simulator, {"text": "Never."})
    assert simulator.http.delete(f"{simulator.root}/script").json() == {"left": 0}
    assert simulator.say("hello")["content"].startswith("[simulated]")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "answers"),
        ({"answers": [{}]}, "answers[0]"),
        ({"answers": [{"match": "x"}]}, "text or calls"),
        ({"answers": [{"text": "x", "calls": []}]}, "text or calls"),
        ({"answers": [{"txet": "x"}]}, "txet"),
        ({"answers": [{"text": 5}]}, "text"),
        ({"answers": [{"do": "stauts=500"}]}, "did you mean 'status'"),
        ({"answers": [{"do": "times=2 status=500"}]}, "given once"),
        ({"answers": [{"calls": [{"name": "x"}]}]}, "calls[0]"),
        ({"answers": [{"text": "x"}] * 10_001}, "at most"),
    ],
)
def test_a_wrong_script_is_refused_and_adds_nothing(simulator: Server, body: Any, words: str) -> None:
    answer = simulator.http.post(f"{simulator.root}/script", json=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]
    assert left(simulator) == 0


def test_the_journal_keeps_messages_only_where_it_is_told_to(simulator: Server) -> None:
    simulator.say("hello")
    assert simulator.call("hello")["asked"] is None
    messages = [{"role": "system", "content": "Be brief."}, user("hello")]
    with running("--keep-messages") as keeping:
        keeping.message(messages=messages)
        assert keeping.call("hello")["asked"] == messages
