"""What is sent, what is sent again and when: the protocol driven by hand, with answers as servers give them and a clock
that stands still unless somebody waits.
"""

import json
import random
from collections.abc import Generator
from typing import Any

import pytest

from longhaul_client import GapEvent, LonghaulError, NotFinalError, Reply, StatusEvent, UnreachableError
from longhaul_client.following import Following
from longhaul_client.messages import Call, Lost, Open, Pause, Read, Send
from longhaul_client.protocol import LATE_S, LONGEST_WAIT_S, Limits, Protocol

TASK_ID = "f" * 32
SUBMITTED = {"task_id": TASK_ID, "status": "pending", "created_at": "2026-11-21T10:00:00.000+00:00"}
RUNNING = {
    **SUBMITTED, "status": "running", "model": "M", "agent": "default", "attempt": 1, "simulated": False,
    "metadata": {}, "steps": [],
}  # fmt: skip


def reply(status: int = 200, body: Any = None, **headers: str) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, data)


def problem(status: int, code: str, retry_after: str | None = None, **more: Any) -> Reply:
    headers = {} if retry_after is None else {"retry_after": retry_after}
    return reply(status, {"code": code, "detail": f"it is {code}", **more}, **headers)


class Hand:
    """Drives a generator of the protocol: answers in turn, and a note of what was asked for."""

    def __init__(self, **limits: float) -> None:
        self.now = 100.0
        self.protocol = Protocol("http://h", Limits(**limits), lambda: self.now, random.Random(1))
        self.calls: list[Call] = []
        self.pauses: list[float] = []
        self.events: list[Any] = []

    def drive(
        self, steps: Generator[Any, Any, Any], *answers: Reply | Lost | bytes | tuple[float, Reply | Lost]
    ) -> Any:
        """The generator's result. An answer with seconds takes so long."""
        left = list(answers)
        answer: Any = None
        try:
            while True:
                need = steps.send(answer)
                answer = None
                match need:
                    case Pause(seconds):
                        self.pauses.append(seconds)
                        self.now += seconds
                    case Send(call) | Open(call):
                        self.calls.append(call)
                        answer = left.pop(0)
                    case Read():
                        answer = left.pop(0)
                    case event:
                        self.events.append(event)
                if isinstance(answer, tuple):
                    seconds, answer = answer
                    self.now += seconds
        except StopIteration as end:
            assert not left, "all answers were asked for"
            return end.value


GONE = Lost("the connection broke")


@pytest.mark.parametrize(
    "failure",
    [GONE, problem(502, "x"), problem(503, "store_unavailable", "1"), problem(504, "x"), reply(502, b"<html>nginx"),
     problem(429, "queue_full", "5")],
)  # fmt: skip
def test_what_passes_is_sent_again_with_the_same_key_and_body(failure: Reply | Lost):
    hand = Hand()
    submitted = hand.drive(hand.protocol.submit("hi", {}, None), failure, failure, reply(200, SUBMITTED))
    assert submitted.task_id == TASK_ID
    first, *others = hand.calls
    assert first.headers["idempotency-key"]
    assert others == [first, first]
    told = float(failure.headers.get("retry-after", 0)) if isinstance(failure, Reply) else 0.0
    assert all(pause > told for pause in hand.pauses)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 413, 415, 422, 429, 500])
def test_what_does_not_pass_is_sent_once(status: int):
    """Also a 409 that says when to come back, and a 429 that does not."""
    hand = Hand()
    headers = {"retry_after": "1"} if status != 429 else {}
    with pytest.raises(LonghaulError) as refused:
        hand.drive(hand.protocol.submit("hi", {}, None), reply(status, {"code": "x", "detail": "y"}, **headers))
    assert (refused.value.status, refused.value.code, refused.value.detail) == (status, "x", "y")
    assert (len(hand.calls), hand.pauses) == (1, [])


def test_two_submits_have_two_keys_and_ones_own_is_used():
    hand = Hand()
    for key in (None, None, "mine"):
        hand.drive(hand.protocol.submit("hi", {"model": "M"}, key), reply(200, SUBMITTED))
    first, second, own = (call.headers["idempotency-key"] for call in hand.calls)
    assert first != second
    assert own == "mine"
    body = hand.calls[0].body
    assert body is not None
    assert json.loads(body) == {"message": "hi", "model": "M"}


def test_it_gives_up_when_the_time_is_over_and_tells_the_last_refusal():
    hand = Hand(retry_for_s=20)
    with pytest.raises(UnreachableError, match="no answer from http://h: the connection broke"):
        hand.drive(hand.protocol.get(TASK_ID), *[GONE] * 50)
    assert 10 < sum(hand.pauses) <= 20
    assert hand.pauses == sorted(hand.pauses), "each pause is longer than the one before it"
    hand = Hand(retry_for_s=20)
    with pytest.raises(LonghaulError, match="it is agent_unavailable"):
        hand.drive(hand.protocol.get(TASK_ID), problem(503, "agent_unavailable", "30"))
    assert hand.pauses == [], "who is told to come back after the time is over need not wait for it"
    hand = Hand(retry_for_s=0)
    with pytest.raises(UnreachableError):
        hand.drive(hand.protocol.get(TASK_ID), GONE)


def test_pauses_are_spread():
    pauses = []
    for seed in range(20):
        hand = Hand()
        hand.protocol._spread = random.Random(seed)
        hand.drive(hand.protocol.get(TASK_ID), problem(503, "x", "2"), reply(200, RUNNING))
        pauses += hand.pauses
    assert len(set(pauses)) == 20
    assert all(2 < pause < 3 for pause in pauses)


def test_a_wait_asks_again_until_the_end_and_keeps_to_the_pace_it_is_told():
    hand = Hand()
    final = {**RUNNING, "status": "success", "result": "r", "completed_at": RUNNING["created_at"]}
    task = hand.drive(
        hand.protocol.wait(TASK_ID, None),
        (30.0, reply(200, RUNNING, retry_after="1")),  # it was waited for longer than that
        (0.0, reply(200, RUNNING, retry_after="7")),  # as of a gateway that stops
        (2.0, reply(200, RUNNING, retry_after="7")),
        (0.0, reply(200, RUNNING)),
        reply(200, final),
    )
    assert task.answer() == "r"
    assert hand.pauses == [7.0, 5.0, 1.0]
    assert [call.query["wait"] for call in hand.calls] == [f"{LONGEST_WAIT_S:.3f}"] * 5


def test_a_wait_ends_when_its_time_is_over_whatever_the_gateway_says():
    hand = Hand()
    with pytest.raises(NotFinalError, match="is running after 40 s") as early:
        hand.drive(
            hand.protocol.wait(TASK_ID, 40),
            (30.0, reply(200, RUNNING, retry_after="60")),
            (0.0, reply(200, RUNNING, retry_after="60")),
        )
    assert early.value.task is not None
    assert hand.now == 140
    assert [call.query for call in hand.calls] == [{"wait": "30.000"}, {}], "and looks once more at the end"
    assert hand.calls[1].silence_s <= LATE_S
    hand = Hand()
    with pytest.raises(NotFinalError, match="has not ended within 3 s") as unseen:
        hand.drive(hand.protocol.wait(TASK_ID, 3), (8.0, GONE))
    assert isinstance(unseen.value.__cause__, UnreachableError)
    assert hand.calls[0].silence_s == 3 + LATE_S


def test_a_wait_outlives_many_gateways_if_each_answers_once():
    hand = Hand(retry_for_s=5)
    answers: list[Any] = [GONE, (30.0, reply(200, RUNNING))] * 10
    final = reply(200, {**RUNNING, "status": "failed", "error": "e", "error_code": "c"})
    assert hand.drive(hand.protocol.wait(TASK_ID, None), *answers, final).error_code == "c"


def test_what_a_chat_says_of_a_task_is_no_reason_to_send_it_again():
    hand = Hand()
    final = {**RUNNING, "status": "success", "result": "late"}
    answer = hand.drive(
        hand.protocol.chat("hi", {}, None),
        problem(503, "store_unavailable", "1"),
        problem(504, "chat_timeout", task_id=TASK_ID),
        reply(200, RUNNING),
        reply(200, final),
    )
    assert (answer.output, answer.task_id) == ("late", TASK_ID)
    assert [call.path for call in hand.calls] == ["/chat", "/chat", f"/task/{TASK_ID}", f"/task/{TASK_ID}"]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"x"', b"{}", b'{"task_id": "x", "status": 1}'])
def test_a_success_of_another_shape_names_the_address(body: bytes):
    for call in (Hand().protocol.get(TASK_ID), Hand().protocol.submit("hi", {}, None)):
        with pytest.raises(LonghaulError, match="http://h does not answer as Longhaul does") as other:
            Hand().drive(call, reply(200, body))
        assert other.value.code == "bad_answer"


def test_ids_cannot_lead_to_another_route():
    hand = Hand()
    with pytest.raises(LonghaulError):
        hand.drive(hand.protocol.get("../../metrics?x#"), problem(404, "task_not_found"))
    assert hand.calls[0].path == "/task/..%2F..%2Fmetrics%3Fx%23"
    with pytest.raises(ValueError, match="the task id is empty"):
        hand.drive(hand.protocol.get(""))


def frame(number: int, name: str = "status", **more: Any) -> bytes:
    data = {"task_id": TASK_ID, "status": "running", "attempt": 1, "at": "2026-11-21T10:00:00.000+00:00", **more}
    head = f"id: {number}-0\n" if name != "gap" else ""
    return f"{head}event: {name}\ndata: {json.dumps(data)}\n\n".encode()


RESULT = b"id: 9-0.result\nevent: result\ndata: " + json.dumps({**RUNNING, "status": "success"}).encode() + b"\n\n"
STREAM = reply(200, b"", content_type="text/event-stream; charset=utf-8")


def following(hand: Hand, after: str | None = None) -> Generator[Any, Any, Any]:
    return Following(hand.protocol, TASK_ID, after, tokens=False).events()


def test_a_stream_goes_on_after_the_last_whole_event():
    hand = Hand()
    half = frame(2)[:-1]
    hand.drive(
        following(hand, "0-0"),
        STREAM, frame(1) + half, GONE,
        GONE,
        problem(503, "store_unavailable", "3"),
        STREAM, b": still here\n\n" + frame(2), b"retry: 4000\n\n", b"",
        STREAM, frame(3, "a_newer_gateways"), GONE,
        STREAM, RESULT,
    )  # fmt: skip
    assert [event.id for event in hand.events] == ["1-0", "2-0", "9-0.result"]
    asked = [call.headers["last-event-id"] for call in hand.calls]
    assert asked == ["0-0", "1-0", "1-0", "1-0", "2-0", "3-0"]
    cut, cut_again, refused, ended, cut_later = hand.pauses
    assert max(cut, cut_again) < 1
    assert refused > 3
    assert ended > 4, "a gateway that ends a stream says when to come back"
    assert cut_later < 1


def test_a_caller_who_gives_up_waiting_wears_out_no_patience():
    hand = Hand(retry_for_s=0)
    left = Lost("the caller stopped waiting", by_caller=True)
    silent: list[Any] = [STREAM, left, left] * 20
    hand.drive(following(hand), *silent, STREAM, frame(1), left, STREAM, RESULT)
    assert hand.pauses == []
    assert [event.id for event in hand.events] == ["1-0", "9-0.result"]
    assert hand.calls[-1].headers["last-event-id"] == "1-0"


def test_a_gap_is_told_once():
    hand = Hand()
    gap, other = frame(0, "gap", after=None), frame(0, "gap", after="1-0")
    hand.drive(following(hand), STREAM, gap, GONE, STREAM, gap + frame(1), GONE, STREAM, other + frame(5) + RESULT)
    assert [type(event) for event in hand.events[:4]] == [GapEvent, StatusEvent, GapEvent, StatusEvent]
    assert [event.after for event in hand.events if isinstance(event, GapEvent)] == [None, "1-0"]


def test_a_stream_gives_up_only_when_nothing_comes_any_more():
    hand = Hand(retry_for_s=30)
    quiet: list[Any] = [STREAM, b": still here\n\n", GONE] * 20
    hand.drive(following(hand), *quiet, STREAM, RESULT)
    hand = Hand(retry_for_s=30)
    long_lived: list[Any] = [STREAM, (10.0, GONE)] * 20  # behind something that cuts what is silent for ten seconds
    hand.drive(following(hand), *long_lived, STREAM, RESULT)
    hand = Hand(retry_for_s=30)
    empty: list[Any] = [STREAM, b"retry: 100\n\n", GONE] * 50
    with pytest.raises(UnreachableError, match="the stream from http://h ended: the connection broke"):
        hand.drive(following(hand), *empty)


def test_a_stream_whose_result_was_seen_is_over():
    hand = Hand()
    hand.drive(following(hand, "9-0.result"), reply(204, b""))
    assert hand.events == []


@pytest.mark.parametrize(
    "answers",
    [[reply(200, b"{}", content_type="application/json")], [STREAM, b"id: 1-0\nevent: status\ndata: {}\n\n"],
     [STREAM, b"event: result\ndata: {}\n\n"], [STREAM, b"id: 1-0\nevent: step\ndata: nonsense\n\n"]],
)  # fmt: skip
def test_a_stream_of_another_shape_names_the_address(answers: list[Any]):
    hand = Hand()
    with pytest.raises(LonghaulError, match="http://h does not answer as Longhaul does"):
        hand.drive(following(hand), *answers)
