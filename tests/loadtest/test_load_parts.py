"""What the Locust file is made of, without Locust: it patches all of Python's networking, so no test imports it."""

import argparse
from types import SimpleNamespace

import pytest

from loadtest.load.events import read_events
from loadtest.load.options import WAYS, add_options
from loadtest.load.outcomes import refusal, verdict
from operations import load


def test_the_command_and_the_locust_file_agree_on_the_ways_and_their_weights() -> None:
    assert {way: weight for way, (weight, _) in WAYS.items()} == load.WAYS


def test_events_come_as_soon_as_they_are_whole() -> None:
    lines = [
        b"retry: 1306", b"", b"id: 1-0", b"event: status", b'data: {"status":"pending"}', b"", b": still here", b"",
        b"data: plain", b"", b"event: result", b'data: {"never":"finished"}',
    ]  # fmt: skip
    assert list(read_events(lines)) == [("status", b'{"status":"pending"}'), ("message", b"plain")]


@pytest.mark.parametrize(
    ("status", "text", "said"),
    [
        (200, "{}", None),
        (429, '{"code": "queue_full", "detail": "task 1f49 and more"}', "429 queue_full"),
        (422, '{"detail": "no code"}', "422"),
        (502, "<html>", "502"),
        (500, "[1]", "500"),
    ],
)
def test_a_refusal_is_its_status_and_code(status: int, text: str, said: str | None) -> None:
    found = refusal(SimpleNamespace(status_code=status, text=text))
    assert (None if found is None else repr(found)) == said


def test_no_answer_at_all_says_why() -> None:
    gone = SimpleNamespace(status_code=0, text="", error=ConnectionRefusedError("127.0.0.1:8000, at some address"))
    assert repr(refusal(gone)) == "no answer: ConnectionRefusedError"


def test_a_task_that_did_not_succeed_is_a_failure_with_its_code() -> None:
    assert verdict({"status": "success"}) is None
    assert repr(verdict({"status": "failed", "error_code": "timeout"})) == "task failed: timeout"
    assert repr(verdict({"status": "cancelled"})) == "task cancelled: None"


@pytest.mark.parametrize(("text", "wanted"), [("90", 90), ("30s", 30), ("2m", 120), ("1h30m", 5400), ("1m30", 90)])
def test_a_run_time_is_read_as_locust_writes_it(text: str, wanted: int) -> None:
    assert load._run_time(text) == wanted


@pytest.mark.parametrize("text", ["", "0", "soon", "-3", "2d", "9999h"])
def test_a_run_time_that_is_none(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="2m or 1h30m"):
        load._run_time(text)


class Parser(argparse.ArgumentParser):
    """Takes what Locust's own adds to argparse's arguments."""

    def add_argument(self, *names, env_var="", is_secret=False, **more):
        assert env_var.startswith("LOAD_") or names[0] == "-h"
        return super().add_argument(*names, **more)


@pytest.mark.parametrize("words", [["--weight-poll", "-1"], ["--pause", "soon"], ["--task-timeout", "inf"]])
def test_options_that_cannot_be_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser()
    add_options(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(words)
    assert "expected a" in capsys.readouterr().err
