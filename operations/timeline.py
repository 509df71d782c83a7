"""What a task waited for and how its attempts went, from its record and its stream. Pure: `why` prints it."""

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from taskstore.events import TaskEvent, TaskHistory
from taskstore.steps import Step, steps_of

SLOT = "for a worker with room"
QUARANTINE = "for its turn in quarantine, where it runs alone because workers died with it"
LIMIT = "for its model's limit of tasks at once"
RATE = "for its model's limit of requests a minute"
COOLDOWN = "for its model, which failed and was cooling down"
PAUSE = "for the end of a pause (manage.py resume)"
HELD = {"limit": LIMIT, "rate": RATE, "cooldown": COOLDOWN, "pause": PAUSE}
SESSION = "for its session, which another task held"
BEHIND = "for its session, which task {} has"
TIME = "for its time (run_at)"
DELAY = "for the delay before a retry"
PERSON = "for a person's decision"
TURN = "in the queue"


@dataclasses.dataclass(frozen=True)
class Wait:
    reason: str
    started: datetime
    ms: int


@dataclasses.dataclass(frozen=True)
class Run:
    """One attempt. `ended` is empty while it runs."""

    attempt: int
    worker: str
    started: datetime
    ms: int
    ended: str
    steps: tuple[Step, ...]

    @property
    def in_calls_ms(self) -> int:
        """What calls of models and tools took; those that ran beside each other count once."""
        until, total = self.started, timedelta()
        calls = (step for step in self.steps if step.kind != "step")
        for step in sorted(calls, key=lambda step: step.started_at):
            end = step.started_at + timedelta(milliseconds=step.duration_ms or 0)
            total += max(timedelta(), end - max(step.started_at, until))
            until = max(until, end)
        return min(self.ms, _ms(total))


@dataclasses.dataclass(frozen=True)
class Note:
    """Something that took no time."""

    started: datetime
    text: str


Part = Wait | Run | Note


def timeline(history: TaskHistory) -> list[Part]:
    """Every part of the task's life in order, up to its end or to now."""
    record, parts = history.record, list[Part]()
    steps = steps_of(record, history.events)
    since, began, reason = record.created_at, None, TURN
    for event in history.events:
        match event.type, event.status:
            case "due", _:
                until = min(event.due or event.at, event.at)
                parts += _waits(since, until, DELAY if event.attempt else TIME)
                since = max(since, until)
            case "let_in", _:
                parts += _waits(since, event.at, SESSION)
                since = event.at
            case "cancel_requested", _:
                parts.append(Note(event.at, "a cancel was requested"))
            case "status", "running":
                parts += _waits(since, event.at, QUARANTINE if event.alone else SLOT, event.held)
                began = event
            case "status", _:
                if began is not None:
                    parts.append(_run(began, event.at, _ended(event), steps))
                elif parts or event.at > since:  # not the submit itself
                    parts += _waits(since, event.at, reason)
                    parts.append(Note(event.at, _ended(event)))
                since, began, reason = event.at, None, PERSON if event.status == "waiting" else TURN
    if began is not None:
        parts.append(_run(began, history.now, "", steps))
    elif not record.is_final:
        parts += _waits(since, history.now, _stands(history), history.held)
    return parts


def _waits(started: datetime, until: datetime, reason: str, held: Mapping[str, int] | None = None) -> list[Part]:
    """The wait, or several: what of it was for a limit, a cooldown or a pause comes first."""
    left = max(0, _ms(until - started))
    found: list[Part] = []
    for name, ms in [*(held or {}).items(), ("", left)]:
        if took := min(ms, left):
            found.append(Wait(HELD.get(name, reason), started, took))
            started, left = started + timedelta(milliseconds=took), left - took
    return found


def _run(began: TaskEvent, until: datetime, ended: str, steps: Iterable[Step]) -> Run:
    own = tuple(step for step in steps if step.fence == began.fence)
    return Run(began.attempt, began.worker or "", began.at, max(0, _ms(until - began.at)), ended, own)


def _stands(history: TaskHistory) -> str:
    """What it waits for now."""
    record = history.record
    match record.index.partition(":")[0]:
        case "scheduled":
            return DELAY if record.attempt else TIME
        case "blocked":
            return BEHIND.format(history.behind) if history.behind else SESSION
        case "waiting":
            return PERSON
    return QUARANTINE if record.index == "ready:quarantine" else SLOT


def _ended(event: TaskEvent) -> str:
    why = event.error_code or event.cause or ""
    match event.status, event.cause:
        case "success", _:
            return "succeeded"
        case "cancelled", "interrupted":
            return "interrupted by another task of its session"
        case "cancelled", _:
            return "cancelled"
        case "failed", _:
            return f"failed ({why})"
        case "retrying", "worker_lost":
            return "lost its worker, to be run again"
        case "retrying", "lost_claim":
            return "lost its claim, to be run again (not charged)"
        case "retrying", _:
            return f"failed in passing ({why}), to be run again"
        case "pending", "replayed":
            return "replayed by an operator" + (f" on {event.model}" if event.model else "")
        case "pending", "released":
            return "given back by a worker that was stopping (not charged)"
        case "pending", "handed_on":
            return "given back by a worker of before a restart, which does not have its agent (not charged)"
        case "waiting", _:
            return "handed to a person" + (f" ({why})" if why else "")
    return f"put back into the queue{f' ({why})' if why else ''}"


def _ms(time: timedelta) -> int:
    return round(time / timedelta(milliseconds=1))
