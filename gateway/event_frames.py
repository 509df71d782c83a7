"""What a stream of a task's events says, as server-sent events (docs/events.md)."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field

from taskstore.events import TaskEvent
from taskstore.states import Status

from .schemas import Stamp, TaskStatus, wire_status

RESULT_SUFFIX = ".result"
"""Ends the id of a `result`, which is no entry of the stream: before it comes the id of the event that it follows."""


class StatusData(BaseModel):
    """Event `status`: what the task is from here on, or why it now waits for something else."""

    task_id: str
    status: TaskStatus
    phase: Literal["retrying"] | None
    attempt: int
    at: Stamp
    cause: str | None = Field(
        description="Such as `worker_lost`, `released`, `replayed`, `cancel_requested`, `due` (a scheduled task's time "
        "came), `let_in` (its session is its own now), or an error code."
    )
    error_code: str | None


class StepData(BaseModel):
    """Event `step`: a call of a model or a tool begins or ends. Its texts are cut and hold no secret."""

    task_id: str
    attempt: int
    number: int = Field(description="From 1 within its run; a `start` and its `end` have the same.")
    phase: Literal["start", "end"]
    kind: Literal["model", "tool", "step"]
    name: str
    at: Stamp
    duration_ms: int | None
    arguments: str | None
    result: str | None = Field(description="What the tool answered, or the model's text.")
    error: str | None
    token_usage: dict[str, int] | None
    cost_usd: float | None


class TokenData(BaseModel):
    """Event `token`: what a model has said since the last one. Only with `tokens=true`."""

    task_id: str
    attempt: int
    number: int | None = Field(description="The step that it is of.")
    kind: Literal["text", "reasoning"]
    text: str
    lost: int = Field(description="Characters that are missing before it; 0 save when there is too much to keep.")
    at: Stamp


class GapData(BaseModel):
    """Event `gap`: events are missing here, because the store keeps about the last 10,000 of a task. It has no id."""

    task_id: str
    after: str | None = Field(description="The last event before the gap; null when the first events are missing.")
    detail: str


class DroppedData(BaseModel):
    """Event `dropped`: the stream ends here although the task goes on. It has no id."""

    reason: Literal["stalled"]
    detail: str


DATA: Mapping[str, type[BaseModel]] = {
    "status": StatusData,
    "step": StepData,
    "token": TokenData,
    "gap": GapData,
    "dropped": DroppedData,
}
"""By the event's name. There is also `result`, whose data is a TaskView."""

EVENT_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "id": {"type": "string", "description": "What `Last-Event-ID` takes; a `gap` and a `dropped` have none."},
        "event": {"type": "string", "enum": [*DATA, "result"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
"""Of each event of a stream, as the API document has it."""


def frame(name: str, data: BaseModel, event_id: str | None = None) -> bytes:
    """One server-sent event. JSON has no line breaks, so its data is one line."""
    begin = "" if event_id is None else f"id: {event_id}\n"
    return f"{begin}event: {name}\ndata: {data.model_dump_json()}\n\n".encode()


def comment(text: str) -> bytes:
    return f": {text}\n\n".encode()


def frame_of(task_id: str, event: TaskEvent) -> bytes:
    if event.step is not None:
        return frame("step", _step(task_id, event), event.id)
    if event.type == "token":
        return frame("token", _token(task_id, event), event.id)
    status = Status(event.status)
    data = StatusData(
        task_id=task_id,
        status=wire_status(status),
        phase="retrying" if status is Status.RETRYING else None,
        attempt=event.attempt,
        at=event.at,
        cause=event.cause if event.type == "status" else event.type,
        error_code=event.error_code,
    )
    return frame("status", data, event.id)


def gap(task_id: str, after: str | None) -> bytes:
    detail = "Events are missing here: the store no longer has them. GET /task/{task_id} shows the task as it stands."
    return frame("gap", GapData(task_id=task_id, after=after, detail=detail))


def dropped() -> bytes:
    detail = "This connection took nothing for too long. Connect again with the last event's id as Last-Event-ID."
    return frame("dropped", DroppedData(reason="stalled", detail=detail))


def _step(task_id: str, event: TaskEvent) -> StepData:
    note = event.step or {}
    duration = note.get("duration_ms")
    return StepData(
        task_id=task_id,
        attempt=event.attempt,
        number=note["number"],
        phase=note["phase"],
        kind=note["kind"],
        name=note["name"],
        at=event.at,
        duration_ms=None if duration is None else round(duration),
        arguments=note.get("arguments"),
        result=note.get("result"),
        error=note.get("error"),
        token_usage=note.get("usage"),
        cost_usd=note.get("cost_usd"),
    )


def _token(task_id: str, event: TaskEvent) -> TokenData:
    return TokenData(
        task_id=task_id,
        attempt=event.attempt,
        number=event.number,
        kind="reasoning" if event.kind == "reasoning" else "text",
        text=event.text or "",
        lost=event.lost,
        at=event.at,
    )
