"""A task's stream, read: what happened to it, in order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from .records import TaskRecord
from .states import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent:
    """One entry. `type`: `status` (it changed to `status`), `cancel_requested`, `due` (a scheduled task's time came),
    `let_in` (a blocked task's session is its own now), `step` (a model or tool call began or ended), `token` (more of
    what a model says).
    """

    id: str
    """Of the stream's entry: what a reader resumes from."""
    type: str
    status: str
    attempt: int
    fence: int
    at: datetime
    due: datetime | None = None
    cause: str | None = None
    error_code: str | None = None
    worker: str | None = None
    model: str | None = None
    """Of a replay: the model that it is to run on from here, if that is another."""
    held: Mapping[str, int] = field(default_factory=dict)
    """Of the wait before this run, the ms that each of these was the reason for: `limit` (the model's tasks at once),
    `rate` (its requests a minute), `cooldown` (of the model), `pause` (of the model or the agent).
    """
    alone: bool = False
    """Of a run: it is in quarantine."""
    step: Mapping[str, Any] | None = None
    number: int | None = None
    """Of a token: the step that it is of."""
    kind: str | None = None
    """Of a token: `text` or `reasoning`."""
    text: str | None = None
    lost: int = 0
    """Of a token: how many characters of what the model said are missing before it."""

    @property
    def is_final(self) -> bool:
        """Whether the task ended with it. It may go on after that: an operator can replay what failed."""
        return self.type == "status" and Status(self.status).is_final

    @property
    def is_submit(self) -> bool:
        """Whether it is the first that a task ever had."""
        return self.type == "status" and self.fence == 0 and self.status == Status.PENDING.value


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskHistory:
    """A record and its stream as they were at one moment, `now` by Redis's clock."""

    record: TaskRecord
    events: Sequence[TaskEvent]
    now: datetime
    held: Mapping[str, int]
    """As in TaskEvent, of the wait that a ready task is in now."""
    behind: str
    """The task that has the session of one that stands behind it; empty of all others."""


def event_of(entry_id: str, flat: Sequence[str]) -> TaskEvent:
    return event_from(entry_id, dict(zip(flat[::2], flat[1::2], strict=True)))


def event_from(entry_id: str, fields: Mapping[str, str]) -> TaskEvent:
    step = fields.get("step")
    due = fields.get("due")
    number = fields.get("number")
    return TaskEvent(
        id=entry_id,
        type=fields["type"],
        status=fields["status"],
        attempt=int(fields["attempt"]),
        fence=int(fields["fence"]),
        at=moment(fields["at"]),
        due=None if due is None else moment(due),
        cause=fields.get("cause") or None,
        error_code=fields.get("error_code") or None,
        worker=fields.get("worker") or None,
        model=fields.get("model"),
        held=held_of(fields.get("held", "")),
        alone="alone" in fields,
        step=None if step is None else orjson.loads(step),
        number=None if number is None else int(number),
        kind=fields.get("kind"),
        text=fields.get("text"),
        lost=int(fields.get("lost", "0")),
    )


def held_of(text: str) -> dict[str, int]:
    """`{reason} {ms} …` as a mapping."""
    words = text.split()
    return {reason: int(ms) for reason, ms in zip(words[::2], words[1::2], strict=True)}


def moment(ms: str) -> datetime:
    return datetime.fromtimestamp(int(ms) / 1000, UTC)
