"""The two forms of a log line, and what is in it: structlog processors, the last of which renders.

    2026-11-21T09:39:00.123Z INFO gateway[4711] gateway.app started address=http://127.0.0.1:8000
    {"at": "2026-11-21T09:39:00.123Z", "level": "INFO", "process": "gateway", "pid": 4711, ...}

docs/logs.md has the grammar. Everything that comes from outside is redacted and then quoted here, value by value, so
that no text can forge a line or a field of one.
"""

import json
import logging
import math
import os
import re
import time
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from operator import itemgetter
from typing import Any

from .light_structlog import structlog
from .log_context import NAMES
from .redaction import Redactor

EventDict = structlog.typing.EventDict
WrappedLogger = structlog.typing.WrappedLogger

HEAD = ("at", "level", "process", "pid", "logger", "event")
"""What every line begins with. A field that somebody calls so gets a `_` at its end."""
_head_of = itemgetter(*HEAD)
_OURS = HEAD[:4]
"""Of these nothing comes from outside."""
LONGEST_VALUE = 32_000
"""Characters of one value. Of a longer one, such as the traceback of a deep recursion, the middle is left out."""
DEEPEST = 6
"""Levels of a nested value that JSON lines keep; deeper ones are written as text."""

SHORT, MOST_SHORT = 100, 1000
"""Of texts with so many characters at most, the forms of the last so many are kept: most come again in the next line
(a caller, a model, a status), and finding out that one holds no secret takes longer than all else about it.
"""

_EDGE = 500
"""Characters beside what is left out that go too: a secret that was cut in two could stand there."""
_OF_RECORDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_PLAIN_VALUE = re.compile(r"[^\s\"'=\\]+")


def own_fields(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """What the call site of a standard logger gave as `extra`."""
    for name, value in vars(event["_record"]).items():
        if name not in _OF_RECORDS and not name.startswith("_"):
            event[_free(name)] = value
    return event


class Arranged:
    """The parts of a line, in the order in which every line has them: head, the event's own fields, what is bound to
    the request or attempt, exception.
    """

    def __init__(self, process: str) -> None:
        self._process, self._pid = process, os.getpid()
        self._second, self._second_text = -1, ""

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        record: logging.LogRecord = event.pop("_record")
        from_structlog: bool = event.pop("_from_structlog")
        exception, stack = event.pop("exception", None), event.pop("stack_info", None)
        line: EventDict = {
            "at": f"{self._until_second(record.created)}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "process": self._process,
            "pid": self._pid,
            "logger": record.name,
            "event": event.pop("event", ""),
        }
        for name, value in event.items():
            line[_free(name) if from_structlog else name] = value
        bound = structlog.contextvars.get_contextvars()
        for name in NAMES:
            if name in bound:
                line.setdefault(name, bound.pop(name))
        for name in sorted(bound):
            line.setdefault(_free(name), bound[name])
        if exception is not None:
            line["exception"] = exception
        if stack is not None:
            line["stack"] = stack
        return line

    def _until_second(self, created: float) -> str:
        second = int(created)
        if second != self._second:
            self._second, self._second_text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return self._second_text


class Line:
    """Readable in a terminal: head, then ` key=value`s. Values, and an event that could be taken for some, are JSON
    strings unless they are plain.
    """

    def __init__(self, redact: Redactor) -> None:
        self._redact = redact
        self._event, self._value = _kept(self._event_of), _kept(self._value_of)

    def __call__(self, _: WrappedLogger, __: str, line: EventDict) -> str:
        at, level, process, pid, logger, event = _head_of(line)
        parts = [at, level, f"{process}[{pid}]", logger, self._event(str(event))]
        for name, value in line.items():
            if name not in HEAD:
                parts.append(f"{name if name.isidentifier() else self._name(name)}={self._value(str(value))}")
        return " ".join(parts)

    def _event_of(self, text: str) -> str:
        event = _text(text, self._redact)
        return event if event.isprintable() and "=" not in event and '"' not in event else _quoted(event)

    def _value_of(self, text: str) -> str:
        value = _text(text, self._redact)
        return value if _PLAIN_VALUE.fullmatch(value) and value.isprintable() else _quoted(value)

    def _name(self, name: str) -> str:
        return re.sub(r"\W", "_", self._redact(name)) or "_"


class Json:
    """For machines: one object a line. Numbers, booleans, lists and tables stay what they are."""

    def __init__(self, redact: Redactor) -> None:
        self._redact = redact
        self._text = _kept(lambda text: _text(text, redact))

    def __call__(self, _: WrappedLogger, __: str, line: EventDict) -> str:
        made = {name: line.pop(name) for name in _OURS}
        for name, value in line.items():
            made[name if name.isidentifier() else self._redact(name)] = self._plain(value, DEEPEST)
        return _quoted(made)

    def _plain(self, value: Any, deepest: int) -> Any:
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if deepest and isinstance(value, Mapping):
            return {self._text(str(name)): self._plain(one, deepest - 1) for name, one in value.items()}
        if deepest and isinstance(value, list | tuple | AbstractSet):
            return [self._plain(one, deepest - 1) for one in value]
        return self._text(str(value))


def _kept(form: Callable[[str], str]) -> Callable[[str], str]:
    short = lru_cache(MOST_SHORT)(form)
    return lambda text: short(text) if len(text) <= SHORT else form(text)


def _free(name: str) -> str:
    return f"{name}_" if name in HEAD else name


def _text(text: str, redact: Redactor) -> str:
    if len(text) <= LONGEST_VALUE:
        return redact(text)
    half = LONGEST_VALUE // 2
    left_out = len(text) - LONGEST_VALUE
    first, last = redact(text[: half + _EDGE]), redact(text[-half - _EDGE :])
    return f"{first[:-_EDGE]} [{left_out} characters left out] {last[_EDGE:]}"


_readable = json.JSONEncoder(ensure_ascii=False).encode


def _quoted(value: Any) -> str:
    """As JSON; readable beyond ASCII, unless it holds what a terminal or `splitlines` takes for a break."""
    readable = _readable(value)
    return readable if readable.isprintable() else json.dumps(value)


def as_line(fields: EventDict) -> str | None:
    """What a JSON line holds, in the other form; None when these are no such fields."""
    return _AS_IT_IS(None, "", dict(fields)) if all(name in fields for name in HEAD) else None


_AS_IT_IS = Line(Redactor(()))
