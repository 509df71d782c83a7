"""Log lines: one an event, in one of two forms, and no secret in any."""

import json
import logging
import re
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from monitoring.log_lines import as_line
from monitoring.logs import log_what_ends_it

from .conftest import CANARY, Written

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) gateway\[\d+\] [\w.]+ .+")
HOSTILE = [
    "a\nb",
    "a\r\nb",
    "a\u2028b",
    "a\x85b",
    'quo"te',
    "x=y",
    "\x1b[31mred",
    "\x9b31mred",
    "back\\slash",
    "",
    "\ud800",
]
Writing = Callable[..., Written]

log = logging.getLogger("spoken.of")


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_event_is_one_line(writing: Writing):
    written = writing()
    log.info("started", extra={"address": "http://127.0.0.1:8000", "model": "a b", "count": 3, "none": None})
    assert LINE.fullmatch(written.line)
    assert written.line.endswith('spoken.of started address=http://127.0.0.1:8000 model="a b" count=3 none=None')


def test_an_event_is_one_object(writing: Writing):
    written = writing(log_format="json")
    nested = {"list": [1, 2.5, True, None], "table": {"a b": ("x",)}, "nan": float("nan"), 3: {4}}
    log.info("started", extra={"address": "http://127.0.0.1:8000", "count": 3, "pid": 7, "nested": nested})
    told = written.object
    assert list(told) == ["at", "level", "process", "pid", "logger", "event", "address", "count", "pid_", "nested"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told["at"])
    assert (told["level"], told["process"], told["logger"]) == ("INFO", "gateway", "spoken.of")
    assert (told["event"], told["count"], told["pid_"]) == ("started", 3, 7)
    assert told["nested"] == {"list": [1, 2.5, True, None], "table": {"a b": ["x"]}, "nan": "nan", "3": [4]}


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_can_forge_a_line_or_a_field(writing: Writing, text: str):
    written = writing()
    log.warning("said", extra={"text": text, "after": 1})
    log.warning("%s", text)
    first, second = written.lines
    assert re.search(r' text="(?:[^"\\]|\\.)*" after=1$', first), first
    assert not re.search(r"(?<!\\)\"? \w+=", second.partition("spoken.of ")[2]), (
        "an event has no field of its own making"
    )
    assert written.text.replace("\n", "").isprintable()


@pytest.mark.parametrize("text", ["said task=1f49 status=success", 'said "so"'])
def test_an_event_that_could_be_taken_for_fields_is_quoted(writing: Writing, text: str):
    written = writing()
    log.warning("%s", text)
    assert written.line.endswith(f" spoken.of {json.dumps(text)}")


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_can_forge_an_object(writing: Writing, text: str):
    written = writing(log_format="json")
    log.warning("said", extra={"text": text, "nested": {text: [text]}})
    log.warning("%s", text)
    first, second = written.objects
    assert (first["text"], first["nested"], second["event"]) == (text, {text: [text]}, text)
    assert written.text.replace("\n", "").isprintable()


def test_a_json_line_can_be_read_in_the_other_form(writing: Writing):
    fields = {"text": 'a "b"\nc', "plain": "x", "number": 3}
    in_json = writing(log_format="json")
    log.info("said", extra=fields)
    told = in_json.object
    in_lines = writing()
    log.info("said", extra=fields)
    after_its_time = slice(len("2026-11-21T09:39:00.123Z"), None)
    shown = as_line(told)
    assert shown is not None
    assert shown[after_its_time] == in_lines.line[after_its_time]
    assert as_line({"at": "2026", "other": 1}) is None


def test_text_beyond_ascii_stays_readable(written: Written):
    log.info("said", extra={"text": "你好 世界"})
    assert '"你好 世界"' in written.line


def test_ordinary_words_stay(writing: Writing):
    written = writing()
    log.info("task-management asks: risk_assessment, sk, ak-47; the bearer of news, basic-auth")
    assert written.line.endswith("task-management asks: risk_assessment, sk, ak-47; the bearer of news, basic-auth")


def test_structlogs_own_loggers_write_the_same_lines(writing: Writing):
    written = writing(log_format="json")
    native = structlog.get_logger("spoken.native")
    native.warning("said %s", "so", article="sencha", level=9)
    native.debug("not said")
    try:
        raise ValueError("why")
    except ValueError:
        native.exception("failed")
    first, second = written.objects
    assert {**first, "at": "", "pid": 0} == {
        "at": "",
        "level": "WARNING",
        "process": "gateway",
        "pid": 0,
        "logger": "spoken.native",
        "event": "said so",
        "article": "sencha",
        "level_": 9,
    }
    assert "ValueError: why" in second["exception"]


def test_a_call_that_is_wrong_costs_a_line_and_says_where_it_is(written: Written, capsys: pytest.CaptureFixture[str]):
    written.without_pytests()
    log.info("%d things", "x")
    log.info("said", extra={"value": Unspeakable()})
    log.info("after")
    first, second, third = written.lines
    for line in (first, second):
        assert "log_call_broken" in line
        assert "test_logs.py:" in line
    assert "%d things" in first
    assert "after" in third
    assert capsys.readouterr().err == ""


def test_what_logs_each_request_is_kept_quiet(writing: Writing):
    writing()
    assert [logging.getLogger(name).getEffectiveLevel() for name in ("httpx", "uvicorn.error")] == [logging.WARNING] * 2


@pytest.mark.parametrize(
    ("settings", "library", "ours"),
    [
        ({}, logging.INFO, logging.INFO),
        ({"log_level": "DEBUG"}, logging.INFO, logging.DEBUG),
        ({"log_level": "DEBUG", "log_content": True}, logging.DEBUG, logging.DEBUG),
        ({"log_level": "ERROR", "log_content": True}, logging.ERROR, logging.ERROR),
    ],
)
def test_debug_lines_of_libraries_need_leave_to_hold_contents(
    writing: Writing, settings: dict[str, Any], library: int, ours: int
):
    """LOG_CONTENT and LOG_LEVEL."""
    writing(**settings)
    assert logging.getLogger("langchain_core.tracers").getEffectiveLevel() == library
    assert [
        logging.getLogger(name).getEffectiveLevel() for name in ("worker.engine", "gateway", "agent.mcp_stdio")
    ] == [ours] * 3


def test_what_ends_a_thread_or_the_process_is_a_line(monkeypatch: pytest.MonkeyPatch, writing: Writing):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # put back afterwards
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    written = writing(log_format="json")
    logging.getLogger().handlers[0].filters.clear()
    log_what_ends_it()

    def fails() -> None:
        raise ValueError(CANARY)

    thread = threading.Thread(target=fails, name="reaper")
    thread.start()
    thread.join()
    try:
        fails()
    except ValueError:
        sys.excepthook(*sys.exc_info())
    told = [one for one in written.objects if one["logger"] == "monitoring.logs"]
    assert [(one["event"], one.get("thread_name")) for one in told] == [
        ("thread_broke", "reaper"),
        ("process_broke", None),
    ]
    assert all("ValueError" in one["exception"] for one in told)
    assert CANARY not in written.text
