"""The control endpoint, and the journal as an independent witness."""

import json
from typing import Any

import httpx
import pytest

from tests.simulator.server import KEY, TOOLS, Server, hanging, running, user


def put(simulator: Server, *rules: Any) -> httpx.Response:
    return simulator.http.put(f"{simulator.root}/control", json={"rules": rules})


def test_rules_match_a_part_of_the_message_so_many_times(simulator: Server) -> None:
    assert put(simulator, {"match": "apple", "do": "status=503 retry_after=1", "times": 2}).status_code == 200
    assert simulator.post("a pear").status_code == 200
    assert [simulator.post("an apple").status_code for _ in range(3)] == [503, 503, 200]
    (rule,) = simulator.http.get(f"{simulator.root}/control").json()["rules"]
    assert rule == {"match": "apple", "do": "status=503 retry_after=1", "times": 2, "used": 2}


def test_a_rule_without_match_holds_for_all_until_deleted(simulator: Server) -> None:
    put(simulator, {"do": "error=deepseek_no_balance"})
    assert simulator.post("anything").status_code == 402
    assert simulator.http.delete(f"{simulator.root}/control").json() == {"rules": []}
    assert simulator.post("anything").status_code == 200


def test_later_rules_and_the_message_itself_win(simulator: Server) -> None:
    put(simulator, {"do": "status=500"}, {"match": "pear", "do": "status=503"})
    assert simulator.post("apple").status_code == 500
    assert simulator.post("pear").status_code == 503
    assert simulator.post("pear [[status=429]]").status_code == 429


def test_putting_replaces_and_what_was_got_can_be_put(simulator: Server) -> None:
    put(simulator, {"do": "status=500"})
    put(simulator, {"match": "x", "do": "delay=0"})
    assert simulator.post("apple").status_code == 200
    got = simulator.http.get(f"{simulator.root}/control").json()
    assert simulator.http.put(f"{simulator.root}/control", json=got).json() == got


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "rules"),
        ({"rules": "status=500"}, "rules"),
        ({"rules": ["status=500"]}, "rules[0]"),
        ({"rules": [{"match": "x"}]}, "'do'"),
        ({"rules": [{"do": "status=500", "tiems": 3}]}, "tiems"),
        ({"rules": [{"do": "status=500", "times": -1}]}, "times"),
        ({"rules": [{"do": "stauts=500"}]}, "did you mean 'status'"),
        ({"rules": [{"do": "delay=0"}] * 1001}, "at most"),
    ],
)
def test_wrong_rules_are_refused_and_change_nothing(simulator: Server, body: Any, words: str) -> None:
    put(simulator, {"do": "status=500"})
    answer = simulator.http.put(f"{simulator.root}/control", json=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]
    assert simulator.post("apple").status_code == 500


def test_the_journal_tells_what_came(simulator: Server) -> None:
    simulator.post("Compute 6*7 now", tools=TOOLS, model="simulator-x", stream=True)
    call = simulator.call("Compute 6*7 now", outcome="answered")
    assert call["model"] == "simulator-x"
    assert call["messages"] == 1
    assert call["step"] == 1
    assert call["tools"] == ["calculator", "get_time", "search"]
    assert call["called"] == ["calculator"]
    assert call["stream"] is True
    assert call["status"] == 200
    assert call["finish_reason"] == "tool_calls"
    assert call["authorized"] is True
    assert call["prompt_tokens"] > 0
    assert call["completion_tokens"] > 0
    assert len(call["message_hash"]) == 16


def test_the_step_is_that_of_the_turn(simulator: Server) -> None:
    said = {"role": "assistant", "content": "Hello"}
    messages = [user("Hi"), said, user("Compute 6*7")]
    asked = simulator.message(messages=messages, tools=TOOLS)
    told = {"role": "tool", "tool_call_id": asked["tool_calls"][0]["id"], "content": "42"}
    simulator.message(messages=[*messages, asked, told], tools=TOOLS)
    assert [(call["messages"], call["step"]) for call in simulator.journal()["calls"]] == [(3, 1), (5, 2)]


def test_counters_add_up(simulator: Server) -> None:
    for text in ("Hi", "Hi", "[[status=500]]", "[[half]]", "[[nonsense=1]]"):
        try:
            simulator.post(text)
        except httpx.RemoteProtocolError:
            assert text == "[[half]]"
    counters = simulator.journal()["counters"]
    assert counters["calls"] == 5
    assert counters["outcomes"] == {"answered": 2, "failed": 1, "broken": 1, "refused": 1}
    assert counters["statuses"] == {"200": 3, "500": 1, "400": 1}
    assert counters["running"] == 0
    assert counters["running_peak"] >= 1


def test_the_journal_counts_what_runs_at_once(simulator: Server) -> None:
    with hanging(simulator, "at once", calls=5):
        counters = simulator.journal()["counters"]
        assert counters["running"] == counters["running_peak"] == 5


def test_the_key_is_never_told(simulator: Server) -> None:
    simulator.post(f"My key is {KEY}, keep it. {KEY}")
    simulator.post("status test [[status=401]]")
    simulator.http.post(f"{simulator.url}/chat/completions", json={"model": "simulator", "messages": [user("no key")]})
    text = json.dumps(simulator.journal())
    assert "My key is [key], keep it." in text
    assert KEY not in text
    assert KEY[3:] not in text
    assert [call["authorized"] for call in simulator.journal()["calls"]] == [True, True, False]


def test_a_word_that_serves_as_key_does_not_spoil_the_journal(simulator: Server) -> None:
    body = {"model": "simulator", "messages": [user("a simple message")]}
    simulator.http.post(f"{simulator.url}/chat/completions", json=body, headers={"authorization": "Bearer sim"})
    simulator.call("a simple message", outcome="answered")


def test_long_messages_are_kept_short(simulator: Server) -> None:
    simulator.post("long-test " + "x" * 5000)
    assert len(simulator.call("long-test")["message"]) == 200


def test_a_key_at_the_edge_of_the_excerpt_is_not_told_in_part(simulator: Server) -> None:
    simulator.post("y" * 190 + KEY)
    assert KEY[:8] not in json.dumps(simulator.journal())


def test_the_journal_is_asked_for_a_part(simulator: Server) -> None:
    for number in range(5):
        simulator.post(f"call {number}")
    calls = simulator.journal()["calls"]
    assert [call["message"] for call in calls] == [f"call {number}" for number in range(5)]
    assert simulator.journal(limit=2)["calls"] == calls[-2:]
    assert simulator.journal(since=calls[1]["seq"])["calls"] == calls[2:]
    assert simulator.journal(match="call 3")["calls"] == [calls[3]]
    assert simulator.http.get(f"{simulator.root}/journal", params={"last": 3}).status_code == 400


def test_the_journal_is_bounded() -> None:
    with running("--journal-size", "3") as server:
        for number in range(5):
            server.post(f"call {number}")
        journal = server.journal()
        assert [call["message"] for call in journal["calls"]] == ["call 2", "call 3", "call 4"]
        assert journal["counters"]["calls"] == 5


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("directive", ["delay=30", "hang", "first_token=30", "tokens_per_second=0.1", "slow_drip=30"])
def test_a_client_that_leaves_is_noticed(simulator: Server, directive: str, stream: bool) -> None:
    with pytest.raises(httpx.TimeoutException):
        simulator.http.post(
            f"{simulator.url}/chat/completions",
            json={"model": "simulator", "stream": stream, "messages": [user(f"leaver [[{directive}]]")]},
            timeout=0.15,
        )
    call = simulator.call("leaver", outcome="disconnected")
    assert call["duration_ms"] < 30_000, "long before it would have answered"
    counters = simulator.journal()["counters"]
    assert counters["running"] == 0
    assert counters["outcomes"] == {"disconnected": 1}
