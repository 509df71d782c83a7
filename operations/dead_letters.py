"""Dead letters as the operator's commands find and show them."""

import argparse
import dataclasses
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from rich.text import Text

from core_config import Settings
from operations import terminal
from operations.errors import CommandError
from operations.pause import in_store
from operations.tasks import PAGE, moment
from operations.timeline import Run, timeline
from taskstore.errors import TaskNotFound
from taskstore.events import TaskHistory
from taskstore.listing import TaskFilter
from taskstore.records import TaskRecord
from taskstore.store import ANY_CALLER, TaskStore

WIDTH = 80


def add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--caller", metavar="NAME")
    parser.add_argument("--code", metavar="ERROR_CODE", help="that it was buried with, such as worker_lost")
    parser.add_argument("--agent", metavar="NAME")
    parser.add_argument("--model", metavar="NAME", help="that it was to run on")
    parser.add_argument("--since", type=moment, metavar="TIME", help="buried since: 90s, 30m, 2h, 7d, or ISO 8601")


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which dead letters; None is any."""

    caller: str | None
    code: str | None
    agent: str | None
    model: str | None
    since: datetime | None
    limit: int | None

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "Selection":
        return cls(arguments.caller, arguments.code, arguments.agent, arguments.model, arguments.since, arguments.limit)

    @property
    def is_narrowed(self) -> bool:
        return any(part is not None for part in (self.caller, self.code, self.agent, self.model, self.since))


def found(settings: Settings, selection: Selection) -> tuple[list[TaskRecord], bool]:
    """The last buried first, and whether there may be more than the limit."""
    wanted = TaskFilter(
        dead=True, error_code=selection.code, agent=selection.agent, model=selection.model, since=selection.since
    )
    caller = ANY_CALLER if selection.caller is None else selection.caller

    async def find(store: TaskStore) -> tuple[list[TaskRecord], bool]:
        letters: list[TaskRecord] = []
        after = None
        while True:
            room = PAGE if selection.limit is None else min(PAGE, selection.limit - len(letters))
            page = await store.list_tasks(wanted, limit=room, after=after, caller=caller)
            letters += page.tasks
            after = page.next
            if after is None or len(letters) == selection.limit:
                return letters, after is not None

    return in_store(settings, find)


def one(settings: Settings, task_id: str) -> TaskHistory:
    """Raises CommandError when nothing has this id."""

    async def read(store: TaskStore) -> TaskHistory | None:
        try:
            return await store.history(task_id)
        except TaskNotFound:
            return None

    history = in_store(settings, read)
    if history is None:
        raise CommandError("no task has this id: it never existed, was purged, or its retention is over.")
    return history


def screen(letters: Iterable[TaskRecord]) -> Iterator[str]:
    """Two lines each, which fit 80 columns: the id is there to be copied whole."""
    yield f"{'TASK':32}  {'BURIED (UTC)':12}  {'ERROR':20}  TRY/CRASH"
    for letter in letters:
        code, tried = terminal.plain(letter.error_code or "-", 20), f"{letter.attempt}/{letter.crashes}"
        yield f"{letter.task_id:32}  {_buried(letter):%m-%d %H:%M}   {code:20}  {tried:>9}"
        asked = f"  {letter.caller}, {letter.agent} on {letter.model}: {terminal.plain(letter.asked, WIDTH)}"
        yield _fitted(asked)


def lines_of(history: TaskHistory) -> Iterator[str]:
    """Why it was buried and what can be done; `why` tells the rest."""
    letter = history.record
    assert letter.dead_until is not None  # noqa: S101  callers look
    ago = terminal.duration((history.now - _buried(letter)).total_seconds())
    left = terminal.duration(max(0.0, (letter.dead_until - history.now).total_seconds()))
    yield f"Dead letter {letter.task_id}"
    yield f"  buried   {_buried(letter):%Y-%m-%d %H:%M:%S} UTC, {ago} ago; forgotten in {left}"
    yield f"  because  {letter.error_code}: {terminal.plain(letter.error or 'no reason was given', 2000)}"
    attempts = "1 attempt" if letter.attempt == 1 else f"{letter.attempt} attempts"
    yield f"  tried    {attempts}; used of its budgets: retries {letter.retries}, crashes {letter.crashes}"
    yield f"  replay   python3 manage.py dead replay {letter.task_id}"


def as_json(letter: TaskRecord, history: TaskHistory | None = None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "task_id": letter.task_id,
        "buried_at": _iso(letter.completed_at),
        "kept_until": _iso(letter.dead_until),
        "created_at": _iso(letter.created_at),
        "caller": letter.caller,
        "agent": letter.agent,
        "model": letter.model,
        "user_id": letter.user_id,
        "session_id": letter.session_id,
        "metadata": dict(letter.metadata),
        "error_code": letter.error_code,
        "error": letter.error,
        "attempt": letter.attempt,
        "retries": letter.retries,
        "crashes": letter.crashes,
        "total_tokens": None if letter.usage is None else letter.usage.total_tokens,
        "cost_usd": letter.cost_usd,
        "message": letter.message,
    }
    if history is not None:
        told["input"] = letter.input
        told["partial"] = letter.partial
        told["attempts"] = [_run(part) for part in timeline(history) if isinstance(part, Run)]
    return told


def _run(run: Run) -> dict[str, Any]:
    return {
        "attempt": run.attempt,
        "worker": run.worker,
        "started_at": _iso(run.started),
        "duration_ms": run.ms,
        "ended": run.ended,
        "steps": [
            {
                "kind": step.kind,
                "name": step.name,
                "state": step.state,
                "duration_ms": step.duration_ms,
                "arguments": step.arguments,
                "result": step.result,
                "error": step.error,
            }
            for step in run.steps
        ],
    }


def _buried(letter: TaskRecord) -> datetime:
    return letter.completed_at or letter.created_at


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="milliseconds")


def _fitted(line: str) -> str:
    """Cut to the screen's columns, of which a Chinese character takes two."""
    text = Text(terminal.plain(line, 400))
    text.truncate(WIDTH - 2, overflow="ellipsis")
    return f"  {text.plain}"
