"""Conversations over three worker processes, of which some are killed in the middle of a turn."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from core_config import ROOT, Settings
from taskstore.records import NewTask, TaskRecord
from taskstore.store import TaskStore

TURN_S = 0.1
WORKERS = 3


@dataclass(frozen=True)
class Told:
    """What was said in each session, in order: what the store remembers, and what was submitted."""

    remembered: Sequence[Sequence[tuple[str, str]]]
    """Message and answer of each turn; the answer names the turns that the run was given."""
    expected: Sequence[Sequence[tuple[str, str]]]
    records: Sequence[TaskRecord]
    seconds: float


async def converse(
    store: TaskStore, settings: Settings, folder: Path, *, sessions: int, turns: int, kills: int
) -> Told:
    """Submits all turns of all sessions at once, and answers when every task is final."""
    with _workers(settings, folder) as workers:
        began = time.monotonic()
        ids = await asyncio.gather(*(_submit(store, session, turns) for session in range(sessions)))
        for kill in range(1, kills + 1):
            await _until_answered(store, sessions * turns * kill // (kills + 1))
            await workers.kill_one_at_work(store)
        await _until_answered(store, sessions * turns)
        seconds = time.monotonic() - began
    remembered = []
    for session in range(sessions):
        found = await store.sessions.read("alice", f"s{session}")
        remembered.append([(turn.message, turn.answer) for turn in found.turns])
    expected = [
        [(_message(s, turn), " ".join(f"s{s}.{earlier}" for earlier in range(turn))) for turn in range(turns)]
        for s in range(sessions)
    ]
    records = [await store.get(task_id) for of_session in ids for task_id in of_session]
    return Told(remembered, expected, records, seconds)


def _message(session: int, turn: int) -> str:
    return f"recall {TURN_S} s{session}.{turn}"


async def _submit(store: TaskStore, session: int, turns: int) -> list[str]:
    ids = [f"s{session}.{turn}" for turn in range(turns)]
    for turn, task_id in enumerate(ids):
        new = NewTask(
            task_id=task_id, caller="alice", message=_message(session, turn), model="M", session_id=f"s{session}"
        )
        await store.submit(new)
    return ids


async def _answered(store: TaskStore) -> int:
    return sum(one.turns for one in (await store.sessions.list("alice", limit=100)).sessions)


async def _until_answered(store: TaskStore, turns: int, within_s: float = 300) -> None:
    until = time.monotonic() + within_s
    while (answered := await _answered(store)) < turns:
        assert time.monotonic() < until, f"{answered} of {turns} turns were answered"
        await asyncio.sleep(0.05)


class _Workers:
    """Each worker by its name; a killed one has a successor."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        names = ("redis_url", "key_prefix", "lease_seconds", "worker_concurrency", "max_crashes")
        chosen = {name.upper(): str(getattr(settings, name)) for name in names}
        self._environment = {**os.environ, **chosen, "DRAIN_SECONDS": "1"}
        self._folder = folder
        self._started = 0
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        self._started += 1
        name = f"w{self._started}"
        with (self._folder / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "tests.worker.scripted", name],
                cwd=ROOT, env=self._environment, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    async def kill_one_at_work(self, store: TaskStore, within_s: float = 120) -> None:
        """kill -9 of a worker that is held still meanwhile, so that it is certain that it has a task."""
        until = time.monotonic() + within_s
        while True:
            assert time.monotonic() < until, "no worker was at work"
            for one in (await store.sessions.list("alice", limit=100)).sessions:
                if one.busy_task_id is not None and await self._killed_with(store, one.busy_task_id):
                    return
            await asyncio.sleep(0.02)

    async def _killed_with(self, store: TaskStore, task_id: str) -> bool:
        record = await store.get(task_id)
        process = self._processes.get(record.worker or "")  # not of a quarantined task, which has a process of its own
        if process is None or record.status.value != "running":
            return False
        process.send_signal(signal.SIGSTOP)
        now = await store.get(task_id)
        if (now.status.value, now.fence) != ("running", record.fence):
            process.send_signal(signal.SIGCONT)
            return False
        process.kill()
        process.wait()
        del self._processes[str(record.worker)]
        self.start()
        return True

    def end(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()


@contextlib.contextmanager
def _workers(settings: Settings, folder: Path) -> Iterator[_Workers]:
    workers = _Workers(settings, folder)
    try:
        for _ in range(WORKERS):
            workers.start()
        yield workers
    finally:
        workers.end()
