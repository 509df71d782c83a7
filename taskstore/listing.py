"""Listing tasks: what to look for, and a page of what was found."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from .records import TaskRecord
from .states import Status

MOST_LOOKED_AT = 1000
"""Tasks that one page looks at, so that no script holds Redis for long; large metadata counts for more."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_POSITION = re.compile(r"(\d{1,15}) ([0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page ended: a place in the order by creation (of dead letters by burial, of sessions by the last change,
    with their key for an id) and id, no more. It is not signed, because it grants nothing: whoever makes one up starts
    at another place of what they may read anyway.
    """

    created_ms: int
    task_id: str

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(f"{self.created_ms} {self.task_id}".encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Raises ValueError for what no page ever answered with."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode("ascii")
        except (binascii.Error, ValueError):
            raw = ""
        found = _POSITION.fullmatch(raw)
        cursor = None if found is None else cls(int(found[1]), found[2])
        if cursor is None or str(cursor) != text:
            raise ValueError("is no cursor; give `next_cursor` of the page before as it was")
        return cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """What each task listed must be; None is anything."""

    statuses: frozenset[Status] | None = None
    session_id: str | None = None
    user_id: str | None = None
    agent: str | None = None
    model: str | None = None
    error_code: str | None = None
    dead: bool = False
    """Only dead letters, the last buried first; `since` and `until` are then about when they were buried."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Names of the top level; a number is compared as a number, true, false and null as such."""
    since: datetime | None = None
    """Created at it or later."""
    until: datetime | None = None
    """Created before it."""

    def as_json(self) -> bytes:
        data: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("session_id", "user_id", "agent", "model", "error_code")
            if getattr(self, name) is not None
        }
        if self.dead:
            data["dead"] = True
        if self.statuses is not None:
            data["status"] = {status.value: True for status in self.statuses}
        if self.metadata:
            data["metadata"] = [
                # as it stands in the stored JSON: a text without it need not be parsed
                {"quoted": orjson.dumps(name).decode() + ":", "name": name, "value": value}
                for name, value in self.metadata.items()
            ]
        return orjson.dumps(data)


@dataclass(frozen=True, slots=True)
class TaskPage:
    """Tasks, newest first. Their `message` is cut to its beginning, and `result` and `partial` are left out."""

    tasks: Sequence[TaskRecord]
    next: Cursor | None
    """None when there is nothing more."""
    stopped_early: bool
    """The limit of what one page looks at was reached before the page was full: go on at `next`."""


def bound_ms(time: datetime | None) -> str:
    """The first whole millisecond that is not before the time. In whole numbers: a float could be one off."""
    return "" if time is None else str(-((EPOCH - time) // timedelta(milliseconds=1)))


def page_of(answer: Sequence[Any]) -> TaskPage:
    word, created_ms, last_id, tasks = answer
    records = [TaskRecord.of(task_id, dict(zip(flat[::2], flat[1::2], strict=True)), None) for task_id, flat in tasks]
    after = None if word == "end" else Cursor(int(created_ms), last_id)
    return TaskPage(records, after, word == "stopped")
