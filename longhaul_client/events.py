"""What happens to a task, as `stream` hands it on. docs/events.md says when each comes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from longhaul_client.sse import Frame
from longhaul_client.task import Task, moment


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusEvent:
    """The task is now in that status, or waits for something else (`cause`)."""

    id: str
    task_id: str
    status: str
    phase: str | None
    attempt: int
    at: datetime
    cause: str | None
    error_code: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEvent:
    """A call of a model or a tool begins or ends."""

    id: str
    task_id: str
    attempt: int
    number: int
    """From 1 within its run; a `start` and its `end` have the same."""
    phase: Literal["start", "end"]
    kind: Literal["model", "tool", "step"]
    name: str
    at: datetime
    duration_ms: int | None
    arguments: str | None
    result: str | None
    error: str | None
    token_usage: Mapping[str, int] | None
    cost_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEvent:
    """More of what a model says."""

    id: str
    task_id: str
    attempt: int
    number: int | None
    """The step that it is of."""
    kind: Literal["text", "reasoning"]
    text: str
    lost: int
    """Characters that are missing before it."""
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GapEvent:
    """Events are missing here: Redis no longer has them. `after` is the last before the gap, None at the beginning."""

    id: None = None
    task_id: str
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultEvent:
    """The last: the task has ended."""

    id: str
    task: Task

    @property
    def task_id(self) -> str:
        return self.task.task_id


Event = StatusEvent | StepEvent | TokenEvent | GapEvent | ResultEvent

_BY_NAME: Mapping[str, type[StatusEvent | StepEvent | TokenEvent]] = {
    "status": StatusEvent,
    "step": StepEvent,
    "token": TokenEvent,
}


def event_of(frame: Frame) -> Event | None:
    """None for one that is not handed on: a newer gateway's, or a word about the connection.

    KeyError, TypeError, ValueError when it is not what its name promises.
    """
    if frame.name == "result":
        return ResultEvent(id=_id(frame), task=Task.of(json.loads(frame.data)))
    if frame.name == "gap":
        data = json.loads(frame.data)
        return GapEvent(task_id=data["task_id"], after=data["after"])
    if (made := _BY_NAME.get(frame.name)) is None:
        return None
    data = json.loads(frame.data)
    given: dict[str, Any] = {name: data.get(name) for name in made.__slots__}
    return made(**given | {"id": _id(frame), "at": moment(data["at"])})


def _id(frame: Frame) -> str:
    if frame.id is None:
        raise ValueError(f"a {frame.name} without an id")
    return frame.id
