"""Server-sent events however they are cut, addresses, and two clients that offer the same."""

import dataclasses
import inspect
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import longhaul_client
from gateway.schemas import ChatBody, TaskBody
from gateway.task_view import StepView, TaskView
from longhaul_client import (
    AsyncClient,
    AsyncEventStream,
    ChatFields,
    Client,
    EventStream,
    LonghaulError,
    Step,
    Task,
    TaskFields,
)
from longhaul_client.address import Address
from longhaul_client.requests import with_body
from longhaul_client.sse import Frame, SseParser

STREAM = (
    'retry: 1306\r\n\r\n: a comment\n\nid: 1-0\nevent: status\ndata: {"é": 1}\n\n'
    "id: 2-0\r\rdata:two\rdata: lines\n\nevent: result\r\nid: 3-0\r\ndata\r\n\r\nid: 4-0\ndata: never ended\n"
).encode()
FRAMES = [
    Frame("1-0", "status", '{"é": 1}'),
    Frame(None, "message", "two\nlines"),
    Frame("3-0", "result", ""),
]  # fmt: skip


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_events_are_the_same_wherever_their_bytes_are_cut(places: list[int]) -> None:
    parser = SseParser()
    ends = sorted({0, len(STREAM), *places})
    pieces = [STREAM[begin:end] for begin, end in pairwise(ends)]
    assert [frame for piece in pieces for frame in parser.feed(piece)] == FRAMES
    assert parser.retry_s == 1.306


def test_a_comment_is_a_sign_of_life_and_a_pause_is_none() -> None:
    parser = SseParser()
    heard = []
    for piece in (b"retry: 10\n\n", b": still here\n", b"retry: soon\n\n"):
        parser.feed(piece)
        heard.append(parser.has_heard)
    assert heard == [False, True, True]
    assert parser.retry_s == 0.01


def test_the_environment_says_where_and_who_unless_the_caller_does() -> None:
    there = {"LONGHAUL_URL": "https://longhaul.example/api/", "LONGHAUL_API_KEY": "k"}
    assert Address.of(None, None, there) == Address("https://longhaul.example/api", "k")
    assert Address.of("http://h", "other", there) == Address("http://h", "other")
    assert Address.of(None, None, {}) == Address("http://127.0.0.1:8000", None)
    assert "secret" not in repr(Address.of(None, "secret", {}))


@pytest.mark.parametrize(
    ("url", "expected"),
    [("http://127.0.0.1:1", False), ("http://localhost", False), ("http://[::1]:8000", False),
     ("http://127.9.9.9", False), ("http://10.0.0.1", True), ("http://localhost.example", True)],
)  # fmt: skip
def test_only_loopback_is_kept_off_proxies(url: str, expected: bool) -> None:
    assert Address.of(url, None, {}).may_be_behind_a_proxy is expected


def public(kind: type) -> dict[str, object]:
    return {name: member for name, member in vars(kind).items() if not name.startswith("_")}


@pytest.mark.parametrize(("blocking", "other"), [(Client, AsyncClient), (EventStream, AsyncEventStream)])
def test_both_clients_offer_the_same_in_the_same_words(blocking: type, other: type) -> None:
    ones = {name.removeprefix("a") if name == "aclose" else name: one for name, one in public(other).items()}
    assert ones.keys() == public(blocking).keys()
    for name, one in public(blocking).items():
        twin = ones[name]
        assert inspect.getdoc(twin) == inspect.getdoc(one), name
        if inspect.isfunction(one) and inspect.isfunction(twin):
            signature = str(inspect.signature(one)).replace("EventStream", "AsyncEventStream")
            assert str(inspect.signature(twin)) == signature, name
            assert inspect.iscoroutinefunction(twin) == (not name.endswith("stream")), name


def test_the_fields_of_a_submit_are_those_that_the_gateway_takes() -> None:
    assert {"message", *TaskFields.__annotations__} == set(TaskBody.model_fields)
    assert {"message", *ChatFields.__annotations__} == set(ChatBody.model_fields)


def test_what_a_task_tells_is_what_the_gateway_tells_of_it() -> None:
    ours = {field.name for field in dataclasses.fields(Task)} - {"data"}
    assert ours <= set(TaskView.model_fields)
    assert {field.name for field in dataclasses.fields(Step)} <= set(StepView.model_fields)


def test_what_is_no_json_is_refused_before_it_is_sent() -> None:
    for bad in (float("nan"), "\ud800", object()):
        with pytest.raises((ValueError, TypeError)):
            with_body("POST", "/task", {"metadata": {"x": bad}}, 1, {})


def test_all_that_is_exported_exists_and_errors_are_one_family() -> None:
    for name in longhaul_client.__all__:
        found = getattr(longhaul_client, name)
        if isinstance(found, type) and issubclass(found, Exception):
            assert issubclass(found, LonghaulError)
