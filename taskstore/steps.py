"""What a run's model and tool calls did: noted by the worker as they begin and end, read back as one step each."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import orjson

from .events import TaskEvent
from .progress import Progress
from .records import TaskRecord, TokenUsage
from .states import Status


@dataclass(frozen=True, slots=True)
class StepNote:
    """One beginning or end, or a token, ready to be written. `text` is its JSON, of a token what the model says;
    `noted` the monotonic clock's seconds.
    """

    text: str
    noted: float
    call: Sequence[str | int] = ()
    """What its model's gate is told: `begun`, `answered` or an error's code; the model; Retry-After in ms. Of a token:
    `token`; its step's number; `text` or `reasoning`; if any are, how many characters are missing before it.
    """

    @property
    def is_token(self) -> bool:
        return len(self.call) > 0 and self.call[0] == "token"


@dataclass(frozen=True, slots=True)
class StepBatch:
    """Notes of one attempt, in order; `first` numbers the first of them from 1 within the attempt, so that a batch that
    is sent twice is written once. A number in the place of a note says how many had to be dropped there.
    """

    first: int
    notes: Sequence[StepNote | int]
    progress: Progress | None = None
    """What was got done, to be kept in the same write."""

    def as_data(self) -> dict[str, Any]:
        """The script's argument. Ages, not times: machines' clocks are not compared."""
        now = time.monotonic()
        entries: list[list[Any]] = [
            [note] if isinstance(note, int) else [max(0, round((now - note.noted) * 1000)), note.text, *note.call]
            for note in self.notes
        ]
        data: dict[str, Any] = {"first": self.first, "steps": entries}
        if self.progress is not None:
            data["progress"] = self.progress.as_data()
        return data

    def as_json(self) -> bytes:
        return orjson.dumps(self.as_data())

    def fields(self) -> list[str | bytes | int]:
        """What follows the JSON in a script's arguments: how many fields, and each with its bytes."""
        if self.progress is None:
            return [0]
        return [len(self.progress.fields), *self.progress.flat()]


StepState = Literal["running", "done", "failed", "unfinished"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call of a model or a tool. Times are UTC, durations milliseconds."""

    attempt: int
    fence: int
    number: int
    """From 1; a run that goes on from where another attempt was goes on counting too."""
    kind: Literal["model", "tool", "step"]
    """`step`: one that the agent's own code tells of."""
    name: str
    state: StepState
    """`unfinished`: its attempt ended without it, as when the worker was lost."""
    started_at: datetime
    duration_ms: int | None
    arguments: str | None
    result: str | None
    error: str | None
    usage: TokenUsage | None
    cost_usd: float | None
    """None for a tool, and for a model call whose price is unknown."""


def steps_of(record: TaskRecord, events: Iterable[TaskEvent]) -> list[Step]:
    """The steps in the order in which they began; beginnings and ends belong together by attempt and number."""
    started: dict[tuple[int, int], tuple[datetime, Mapping[str, Any]]] = {}
    steps: dict[tuple[int, int], Step] = {}
    for event in events:
        if event.step is not None:
            key = event.fence, int(event.step["number"])
            lasted = timedelta(milliseconds=event.step.get("duration_ms") or 0)
            began, told = started.setdefault(key, (event.at - lasted, event.step))
            steps[key] = _step(event, {**told, **event.step}, began, runs=_runs(record, event.fence))
    return sorted(steps.values(), key=lambda step: (step.fence, step.number))


def _runs(record: TaskRecord, fence: int) -> bool:
    return record.status is Status.RUNNING and record.fence == fence


def _step(event: TaskEvent, note: Mapping[str, Any], began: datetime, *, runs: bool) -> Step:
    ended = note["phase"] == "end"
    state: StepState = "running" if runs else "unfinished"
    if ended:
        state = "failed" if note.get("error") is not None else "done"
    usage, duration = note.get("usage"), note.get("duration_ms")
    return Step(
        attempt=event.attempt,
        fence=event.fence,
        number=int(note["number"]),
        kind=note["kind"],
        name=note["name"],
        state=state,
        started_at=began,
        duration_ms=None if duration is None else round(duration),
        arguments=note.get("arguments"),
        result=note.get("result"),
        error=note.get("error"),
        usage=None if usage is None else TokenUsage.of(usage),
        cost_usd=note.get("cost_usd"),
    )
