"""When a task will be done, as far as that can be told: what is known of the queue, and what follows from it. Pure.

It goes by how long the last runs of the same model and agent took. A task that waits is taken to wait as if all before
it took as long as it will: whichever is later of the time until a slot is free, until its model may run one more, and
until its model may be asked once more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from core_config import ModelConfig

from .events import TaskEvent, moment
from .records import Kind, TaskRecord
from .states import Status

ENOUGH = 5
"""Fewer runs than that say too little of the next."""

_MS = timedelta(milliseconds=1)
_ROUNDS = 50
"""Of a sum that comes to rest in a few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What an estimate goes by, at one moment of Redis's clock. Durations are milliseconds."""

    now: datetime
    due_ms: int = 0
    """Until it may start at all: a scheduled task's time, a retry's."""
    paused: bool = False
    """Its model or its agent is."""
    slots: int = 0
    """Tasks that the workers which are alive can run at once."""
    extra: int = 0
    """And interactive ones beyond."""
    runs: Sequence[int] = ()
    """How long the last ones of its model and agent took, that succeeded."""
    ahead: Mapping[str, int] = field(default_factory=dict)
    """By model: tasks that are ready and come before it."""
    running: Mapping[str, int] = field(default_factory=dict)
    """By model: tasks that run."""
    cooling: Mapping[str, int] = field(default_factory=dict)
    """By model: how much is left of its cooldown."""
    requests: float | None = None
    """That its model may be asked now; None when no limit is known to the workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A task with what a client is shown of its progress, as of one moment."""

    record: TaskRecord
    """Its `partial` is what its run has said so far."""
    events: Sequence[TaskEvent]
    """What its steps are made of; none when it has no steps."""
    outlook: Outlook | None
    """None of a final task."""


def ms_left(task: TaskRecord, outlook: Outlook | None, registry: Mapping[str, ModelConfig]) -> float | None:
    """Milliseconds until the task is expected to be final, never negative; None when too little is known: it is final,
    paused, waits for a person or behind another of its session, is in quarantine, no worker is alive, its model is not
    in the registry or cools down and has others to fall back on, or fewer than ENOUGH runs were measured.
    """
    if outlook is None or not outlook.slots or len(outlook.runs) < ENOUGH or outlook.paused:
        return None
    left = _of_running(task, outlook) if task.status is Status.RUNNING else _of_queued(task, outlook, registry)
    if left is not None and task.deadline_at is not None:
        left = min(left, (task.deadline_at - outlook.now) / _MS)
    return None if left is None else max(0.0, left)


def _of_running(task: TaskRecord, outlook: Outlook) -> float | None:
    """The mean of what those runs took more that lasted longer than it has by now; None when none did."""
    if task.cancel_requested_at is not None:
        return 0.0
    if task.started_at is None:
        return None
    ran = (outlook.now - task.started_at) / _MS
    longer = [run - ran for run in outlook.runs if run > ran]
    return sum(longer) / len(longer) if longer else None


def _of_queued(task: TaskRecord, outlook: Outlook, registry: Mapping[str, ModelConfig]) -> float | None:
    model = registry.get(task.model)
    if model is None or not (task.index == "scheduled" or task.index.startswith("ready:")):
        return None
    if task.index == "ready:quarantine":
        return None
    mean = sum(outlook.runs) / len(outlook.runs)
    before, runs = outlook.ahead.get(task.model, 0), outlook.running.get(task.model, 0)
    of_model = 0.0 if model.max_concurrency is None else _until_free(before, runs, model.max_concurrency, mean)
    if model.cooldown and outlook.cooling.get(task.model, 0) > 0:
        if model.fallbacks:
            return None
        of_model += outlook.cooling[task.model]
    of_rate = 0.0
    if model.rpm is not None and outlook.requests is not None:
        of_rate = max(0.0, before + 1 - outlook.requests) * 60_000 / model.rpm
    return max(float(outlook.due_ms), of_model, of_rate, _of_slots(task, outlook, registry, mean)) + mean


def _until_free(before: float, running: float, slots: int, mean: float) -> float:
    """Until one of that many slots is free for it: as runs end at an even pace."""
    to_end = before + 1 - max(0.0, slots - running)
    return max(0.0, to_end) * mean / slots


def _of_slots(task: TaskRecord, outlook: Outlook, registry: Mapping[str, ModelConfig], mean: float) -> float:
    """Until a worker has a slot for it. Of another model's tasks only those come before it that may be started by then:
    what a limit or a cooldown holds up takes no slots, however much of it there is.
    """
    slots = outlook.slots + (outlook.extra if task.kind is Kind.INTERACTIVE else 0)
    running = sum(outlook.running.values())
    before = float(sum(outlook.ahead.values()))
    wait = _until_free(before, running, slots, mean)
    for _ in range(_ROUNDS):
        startable = sum(
            min(float(count), _startable(name, outlook, registry, wait, mean)) if name != task.model else count
            for name, count in outlook.ahead.items()
        )
        sooner = _until_free(startable, running, slots, mean)
        if wait - sooner < 1:
            return sooner
        wait = sooner
    return wait


def _startable(
    name: str, outlook: Outlook, registry: Mapping[str, ModelConfig], within_ms: float, mean: float
) -> float:
    """How many of a model's tasks may be started within that time."""
    model = registry.get(name)
    if model is None:
        return float("inf")
    if model.cooldown and outlook.cooling.get(name, 0) > 0:
        return 0.0
    by_rate = float("inf") if model.rpm is None else model.rpm * (within_ms / 60_000 + 0.1)
    if model.max_concurrency is None:
        return by_rate
    free = max(0, model.max_concurrency - outlook.running.get(name, 0))
    return min(by_rate, free + model.max_concurrency * within_ms / max(1.0, mean))


def outlook_of(facts: Sequence[Any]) -> Outlook | None:
    """What read.lua tells: names and values."""
    if not facts:
        return None
    told = dict(zip(facts[::2], facts[1::2], strict=True))
    now = moment(told["now"])
    due = told.get("due")
    return Outlook(
        now=now,
        due_ms=0 if due is None else max(0, round((moment(due) - now) / _MS)),
        paused="paused" in told,
        slots=int(told.get("slots", 0)),
        extra=int(told.get("extra", 0)),
        runs=[int(run) for run in told.get("runs", "").split()],
        ahead=_counts(told.get("ahead", ())),
        running=_counts(told.get("running", ())),
        cooling=_counts(told.get("cooling", ())),
        requests=float(told["requests"]) if "requests" in told else None,
    )


def _counts(flat: Sequence[str]) -> dict[str, int]:
    return {name: int(count) for name, count in zip(flat[::2], flat[1::2], strict=True)}
