"""Behaviour on demand: every directive does what it says, and a misspelt one is refused."""

import json
import time
from typing import Any

import httpx
import pytest

from loadtest.simulator.behaviour import Behaviour
from loadtest.simulator.rules import MAX_COUNTED_MESSAGES, Rules
from tests.simulator.server import CALCULATOR, TOOLS, Server, hanging, running, user


def events(body: str) -> list[Any]:
    """The JSON of every event of a stream, without the last `[DONE]`."""
    lines = [line.removeprefix("data: ") for line in body.splitlines() if line]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def spoken(body: str) -> str:
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in events(body) if event.get("choices"))


@pytest.mark.parametrize("stream", [False, True])
def test_delay(simulator: Server, stream: bool) -> None:
    began = time.monotonic()
    assert simulator.post("delay-test [[delay=0.3]]", stream=stream).status_code == 200
    assert time.monotonic() - began >= 0.3
    assert simulator.call("delay-test", outcome="answered")["duration_ms"] >= 300


def test_directives_do_not_reach_the_dialogue(simulator: Server) -> None:
    plain = simulator.say("Hello")
    assert simulator.say("[[delay=0]] Hello [[reasoning=2]]")["content"] == plain["content"]
    (call,) = simulator.say("[[delay=0 reasoning=5]] Compute 6*7", tools=TOOLS)["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"expression": "6*7"}


def test_a_pace_holds_for_whole_answers_and_streams(simulator: Server) -> None:
    for stream in (False, True):
        began = time.monotonic()
        answer = simulator.post("[[first_token=0.2 tokens_per_second=100 tokens=21]]", stream=stream)
        assert answer.status_code == 200
        assert time.monotonic() - began >= 0.4


def test_a_paced_stream_comes_piece_by_piece(simulator: Server) -> None:
    body = {"model": "simulator", "stream": True, "messages": [user("[[tokens=20 tokens_per_second=30]]")]}
    with simulator.http.stream("POST", f"{simulator.url}/chat/completions", json=body) as answer:
        arrivals = [(time.monotonic(), piece) for piece in answer.iter_text()]
    assert len(arrivals) > 3
    assert arrivals[-1][0] - arrivals[0][0] >= 0.2
    whole = "".join(piece for _, piece in arrivals)
    assert whole.endswith("data: [DONE]\n\n")
    assert spoken(whole) == simulator.say("[[tokens=20]]")["content"]


def test_status_and_retry_after(simulator: Server) -> None:
    answer = simulator.post("[[status=429 retry_after=2.5]]")
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "2.5"
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    assert simulator.call("status=429", outcome="failed")["status"] == 429


def test_hang_sends_nothing(simulator: Server) -> None:
    with hanging(simulator, "hang-test") as (connection,):
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        assert simulator.call("hang-test", outcome="running")["fault"] == "hang"
    simulator.call("hang-test", outcome="disconnected")


def test_stall_stops_in_the_middle(simulator: Server) -> None:
    body = {"model": "simulator", "stream": True, "messages": [user("stall-test [[stall]]")]}
    got = ""
    with simulator.http.stream("POST", f"{simulator.url}/chat/completions", json=body, timeout=0.3) as answer:
        pieces = answer.iter_text()
        with pytest.raises(httpx.ReadTimeout):  # noqa: PT012 - what came before the silence is wanted too
            while True:
                got += next(pieces)
    assert spoken(got).startswith("[simulated]")
    assert "[DONE]" not in got
    simulator.call("stall-test", outcome="disconnected")


@pytest.mark.parametrize("fault", ["half", "broken_stream"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_connection(simulator: Server, fault: str, stream: bool) -> None:
    body = {"model": "simulator", "stream": stream, "messages": [user(f"cut-test [[{fault}]]")]}
    got = b""
    with simulator.http.stream("POST", f"{simulator.url}/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        pieces = answer.iter_bytes()
        with pytest.raises(httpx.RemoteProtocolError):  # noqa: PT012 - what came before the cut is wanted too
            while True:
                got += next(pieces)
    assert got
    assert b"[DONE]" not in got
    if stream:
        # Half is cut inside an event, a broken stream between two.
        assert got.endswith(b"\n\n") == (fault == "broken_stream")
    simulator.call("cut-test", outcome="broken")


def test_an_early_end_is_a_proper_body_without_its_end(simulator: Server) -> None:
    body = simulator.post("Hello [[early_end]]", stream=True).text
    assert "[DONE]" not in body
    assert all(event["choices"][0]["finish_reason"] is None for event in events(body))
    whole = simulator.say("Hello")["content"]
    assert whole.startswith(spoken(body))
    assert 0 < len(spoken(body)) < len(whole)


def test_broken_json(simulator: Server) -> None:
    answer = simulator.post("[[broken_json]]")
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    stream = simulator.post("[[broken_json]]", stream=True).text
    assert stream.endswith("data: [DONE]\n\n")
    with pytest.raises(json.JSONDecodeError):
        events(stream)


def test_an_error_under_status_200(simulator: Server) -> None:
    answer = simulator.post("[[error_body]]")
    assert answer.status_code == 200
    assert answer.json()["error"]["type"] == "server_error"


def test_empty(simulator: Server) -> None:
    answer = simulator.post("Compute 6*7 [[empty]]", tools=TOOLS).json()
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "", "refusal": None}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == 0
    assert spoken(simulator.post("Hello [[empty]]", stream=True).text) == ""


def test_cut_ends_for_length(simulator: Server) -> None:
    whole = simulator.post("Hello").json()
    answer = simulator.post("Hello [[cut]]").json()
    assert answer["choices"][0]["finish_reason"] == "length"
    text = answer["choices"][0]["message"]["content"]
    assert text
    assert text != whole["choices"][0]["message"]["content"]
    assert whole["choices"][0]["message"]["content"].startswith(text)
    assert answer["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"] // 2


def test_bad_arguments(simulator: Server) -> None:
    (call,) = simulator.say("Compute 6*7 [[bad_arguments]]", tools=TOOLS)["tool_calls"]
    with pytest.raises(json.JSONDecodeError):
        json.loads(call["function"]["arguments"])


@pytest.mark.parametrize("stream", [False, True])
def test_a_slow_drip_comes_byte_by_byte(simulator: Server, stream: bool) -> None:
    body = {"model": "simulator", "stream": stream, "messages": [user("[[slow_drip=0.0005 tokens=1]]")]}
    began = time.monotonic()
    with simulator.http.stream("POST", f"{simulator.url}/chat/completions", json=body) as answer:
        pieces = list(answer.iter_raw())
    # The client may get several bytes at once, but not sooner than they were sent.
    assert len(pieces) > 3
    assert time.monotonic() - began >= 0.0005 * len(b"".join(pieces))
    assert json.loads(b"".join(pieces)) if not stream else b"".join(pieces).endswith(b"data: [DONE]\n\n")


def test_tokens_set_the_length_of_an_answer(simulator: Server) -> None:
    for wanted in (1, 50, 5000):
        answer = simulator.post(f"Hi [[tokens={wanted}]]").json()
        assert answer["usage"]["completion_tokens"] == wanted
        assert answer["choices"][0]["finish_reason"] == "stop"


def test_cached_and_reasoning_tokens(simulator: Server) -> None:
    plain = simulator.post("Hello there").json()["usage"]
    usage = simulator.post("Hello there [[cached=5 reasoning=7]]").json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 5
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 7
    assert usage["completion_tokens"] == plain["completion_tokens"] + 7
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_a_conversations_beginning_counts_as_cached(simulator: Server) -> None:
    long_ago = [user("word " * 200), {"role": "assistant", "content": "yes"}]
    usage = simulator.post(messages=[*long_ago, user("and now?")]).json()["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    assert cached == 192
    assert cached < usage["prompt_tokens"]


def turn(simulator: Server, text: str, steps: int, **body: Any) -> list[dict[str, Any]]:
    """The model's messages of one turn in which every tool call is answered, for at most so many calls."""
    messages = [user(text)]
    said = []
    for _ in range(steps):
        said.append(simulator.message(messages=messages, tools=[CALCULATOR], **body))
        calls = said[-1].get("tool_calls")
        if not calls:
            break
        messages.append(said[-1])
        messages += [{"role": "tool", "tool_call_id": call["id"], "content": f"r{len(said)}"} for call in calls]
    return said


def test_loop_never_stops_asking(simulator: Server) -> None:
    said = turn(simulator, "[[loop]] Hello", 12)
    assert len(said) == 12
    assert all(len(message["tool_calls"]) == 1 for message in said)
    assert len({message["tool_calls"][0]["function"]["arguments"] for message in said}) == 12


def test_a_script_of_tool_calls(simulator: Server) -> None:
    said = turn(simulator, "[[tool_calls=3]] Hello", 12)
    assert len(said) == 4
    assert all(result in said[-1]["content"] for result in ("r1", "r2", "r3"))
    assert turn(simulator, "[[tool_calls=0]] Compute 6*7", 2)[0].get("tool_calls") is None
    assert "no tool is offered" in simulator.say("[[loop]]")["content"]


def test_times_holds_for_the_first_calls_of_a_message(simulator: Server) -> None:
    text = "times-test [[times=2 status=500]]"
    assert [simulator.post(text).status_code for _ in range(4)] == [500, 500, 200, 200]
    assert simulator.post(text.replace("times-test", "another")).status_code == 500


def test_counted_messages_are_bounded_and_the_oldest_go_first() -> None:
    rules = Rules(Behaviour())

    def fails(number: int) -> bool:
        return rules.decide(f"message {number} [[times=1 status=500]]", str(number), 1).status == 500

    assert fails(0)
    for number in range(1, MAX_COUNTED_MESSAGES):
        fails(number)
    assert not fails(0), "remembered, and by being asked the newest now"
    assert fails(MAX_COUNTED_MESSAGES)
    assert not fails(0)
    assert fails(1), "the oldest was forgotten"


def test_step_holds_for_one_call_of_a_turn(simulator: Server) -> None:
    messages = [user("Compute 6*7 [[step=2 times=1 status=503]]")]
    first = simulator.message(messages=messages, tools=TOOLS)
    messages += [first, {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "content": "42"}]
    assert [simulator.post(messages=messages, tools=TOOLS).status_code for _ in range(2)] == [503, 200]


def test_only_the_last_user_message_directs(simulator: Server) -> None:
    history = [user("[[status=500]]"), {"role": "assistant", "content": "no"}]
    assert simulator.post(messages=[*history, user("Hi")]).status_code == 200
    system = {"role": "system", "content": "[[status=500]]"}
    assert simulator.post(messages=[system, user("Hi")]).status_code == 200


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[[dealy=2]]", "did you mean 'delay'"),
        ("[[delay=soon]]", "a number"),
        ("[[delay=-1]]", "from 0 to"),
        ("[[delay=nan]]", "from 0 to"),
        ("[[delay]]", "needs a value"),
        ("[[hang=3]]", "takes no value"),
        ("[[status=200]]", "from 400 to 599"),
        ("[[error=deepseek_no_balanse]]", "deepseek_no_balance"),
        ("[[times=1 stauts=500]]", "did you mean 'status'"),
        ("[[foo=1]]", "no directive is called 'foo'"),
    ],
)
def test_a_wrong_directive_is_refused(simulator: Server, text: str, hint: str) -> None:
    answer = simulator.post(text)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "simulator_directive"
    assert hint in answer.json()["error"]["message"]


@pytest.mark.parametrize("text", ["[[1, 2], [3, 4]]", "[[Some page]]", "if [[ $a == b ]]; then", "[[]]", "[[ ]]", "[["])
def test_double_brackets_may_be_prose(simulator: Server, text: str) -> None:
    assert simulator.post(text).status_code == 200


def test_options_set_the_defaults_and_directives_go_before_them() -> None:
    with running("--latency", "1000", "--context-window", "50") as slow:
        with pytest.raises(httpx.ReadTimeout):
            slow.http.post(f"{slow.url}/chat/completions", json={"model": "s", "messages": [user("Hi")]}, timeout=0.5)
        assert slow.post("quick-test [[delay=0]]").status_code == 200
        slow.http.put(f"{slow.root}/control", json={"rules": [{"do": "delay=0"}]})
        answer = slow.post("word " * 100)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "context_length_exceeded"
