"""Tasks that take their workers down, real ones, and those beside them: a poison task ends as a dead letter, and nobody
else is buried for it.
"""

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from taskstore.records import Kind, NewTask, TaskRecord, WorkerInfo
from taskstore.store import TaskStore
from tests.worker.conftest import WorkerProcess, eventually, new_task
from worker import attendant
from worker.attendant import Attendant, wait_before_next
from worker.outage import Outage

Start = Callable[..., WorkerProcess]
Ended = Callable[..., Awaitable[TaskRecord]]
Running = Callable[..., Awaitable[TaskRecord]]


class Supervised:
    """Workers that are started again when they die, and whose deaths are reported, as by `manage.py`."""

    def __init__(self, start: Callable[[], WorkerProcess], store: TaskStore, count: int) -> None:
        self._start = start
        self._store = store
        self.workers = [start() for _ in range(count)]
        self.deaths = 0

    async def watch(self) -> None:
        while True:
            for at, worker in enumerate(self.workers):
                if worker.process.poll() is not None:
                    await self._store.sweep(dead=worker.name)
                    self.deaths += 1
                    self.workers[at] = self._start()
            await self._report_orphans()
            await asyncio.sleep(0.02)

    async def _report_orphans(self) -> None:
        """A quarantine worker that dies after the one that started it: only the lease would tell, if it were short."""
        living = {worker.name for worker in self.workers}
        for one in (await self._store.overview()).workers:
            if one.quarantine and one.id.rpartition("-q")[0] not in living and is_gone(one.pid):
                await self._store.sweep(dead=one.id)


def is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
async def supervised(store: TaskStore, start_worker: Start) -> AsyncIterator[Callable[..., Supervised]]:
    watching: list[asyncio.Task[None]] = []

    def start(count: int, **changes: object) -> Supervised:
        fleet = Supervised(lambda: start_worker(**changes), store, count)
        watching.append(asyncio.create_task(fleet.watch()))
        return fleet

    yield start
    for task in watching:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def in_quarantine(store: TaskStore, *tasks: NewTask) -> None:
    """Submits tasks as if two workers had died with them, while no worker is there."""
    for task in tasks:
        await store.submit(task)
    for name in ("dead0", "dead1"):
        await store.claim(name, 1, room=len(tasks), extra=len(tasks), models={"M": None})
        await store.sweep(dead=name)
    for task in tasks:
        assert (await store.get(task.task_id)).index == "ready:quarantine"


async def children(worker: WorkerProcess, count: int = 1) -> list[int]:
    """Process ids of the quarantine workers that it has started."""

    async def told() -> list[int]:
        found = re.findall(r"quarantine_started worker=\S+ quarantine_pid=(\d+)", worker.said())
        return [int(pid) for pid in found] if len(found) >= count else []

    pids: list[int] = await eventually(told)
    return pids


async def gone(pid: int) -> None:
    async def look() -> bool:
        return is_gone(pid)

    await eventually(look)


async def test_poison_tasks_are_buried_and_their_neighbours_succeed(
    store: TaskStore, tmp_path: Path, supervised: Callable[..., Supervised], ended: Ended
) -> None:
    """The good ones hold until the poison has done its worst, so that they are there when the workers die."""
    fleet = supervised(2, worker_concurrency=20, lease_seconds=600)  # so that each death has to be reported
    good = [new_task(f"hold {tmp_path}/go") for _ in range(30)]
    bad = [new_task(f"die {how}") for how in ("exit", "segfault", "killed")]
    for task in good:
        await store.submit(task)

    async def all_run() -> bool:
        return (await store.overview()).running == len(good)

    await eventually(all_run)
    for task in bad:
        await store.submit(task)

    async def known_as_poison() -> bool:
        return all([(await store.get(task.task_id)).crashes >= 2 for task in bad])

    await eventually(known_as_poison, within_s=180)
    (tmp_path / "go").touch()
    for task in bad:
        record = await ended(task, within_s=180)
        assert (record.status, record.error_code, record.crashes) == ("failed", "worker_lost", 3)
    records = [await ended(task) for task in good]
    assert [record.status for record in records] == ["success"] * len(good)
    assert max(record.crashes for record in records) == 2, "some shared the fate of the poison as often as may be"
    assert (await store.overview()).dead == len(bad)
    assert fleet.deaths <= 2 * len(bad), "no third run took a worker down"


async def test_a_quarantined_task_runs_alone_in_a_process_that_leaves_when_there_are_no_more(
    store: TaskStore,
    tmp_path: Path,
    start_worker: Start,
    ended: Ended,
    running: Running,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LEAVES_AFTER_S", "0.3")
    held, chat = new_task(f"hold {tmp_path}/go"), new_task("say hello", kind=Kind.INTERACTIVE)
    await in_quarantine(store, held, chat)
    worker = start_worker(lease_seconds=60)
    alone = await running(held, attempt=3)
    ordinary = new_task("say hello")
    await store.submit(ordinary)
    assert (await ended(ordinary)).worker == worker.name
    assert (await store.get(chat.task_id)).index == "ready:quarantine", "it is not beside the other one"
    (pid,) = await children(worker)

    async def heard_of() -> list[WorkerInfo]:
        return [one for one in (await store.overview()).workers if one.id == alone.worker]

    (about,) = await eventually(heard_of)
    assert (about.pid, about.slots, about.quarantine) == (pid, 1, True)
    assert os.getpgid(pid) != os.getpgid(worker.pid)
    if sys.platform == "linux":
        assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "500"
    (tmp_path / "go").touch()
    assert (await ended(held)).worker == (await ended(chat)).worker == alone.worker
    await gone(pid)
    assert "quarantine_leaves cause=idle" in worker.said()

    async def forgotten() -> bool:
        return [one.id for one in (await store.overview()).workers] == [worker.name]

    await eventually(forgotten)
    assert worker.process.poll() is None


async def test_a_task_in_quarantine_outlives_the_worker_that_attends_to_it(
    store: TaskStore, tmp_path: Path, start_worker: Start, ended: Ended, running: Running
) -> None:
    held = new_task(f"hold {tmp_path}/go")
    await in_quarantine(store, held)
    worker = start_worker(drain_seconds=30, lease_seconds=60)
    await running(held, attempt=3)
    (pid,) = await children(worker)
    worker.signal(signal.SIGKILL)
    worker.process.wait()
    await store.sweep(dead=worker.name)

    async def drains() -> bool:
        return "quarantine_leaves cause=parent_gone" in worker.said()

    await eventually(drains)
    (tmp_path / "go").touch()
    record = await ended(held)
    assert (record.status, record.attempt, record.crashes) == ("success", 3, 2)
    await gone(pid)


@pytest.mark.parametrize("hurries", [False, True])
async def test_a_worker_that_drains_takes_its_quarantine_worker_along(
    store: TaskStore, tmp_path: Path, start_worker: Start, running: Running, hurries: bool
) -> None:
    held = new_task(f"hold {tmp_path}/go")
    await in_quarantine(store, held)
    worker = start_worker(drain_seconds=600, lease_seconds=60)
    await running(held, attempt=3)
    (pid,) = await children(worker)
    worker.signal(signal.SIGTERM)

    async def draining() -> bool:
        return worker.said().count("shutdown on SIGTERM") == 2

    await eventually(draining)
    if hurries:
        worker.signal(signal.SIGTERM)
    else:
        (tmp_path / "go").touch()
    assert worker.process.wait(60) == 0
    assert not psutil.pid_exists(pid), "it waited for its quarantine worker"
    record = await store.get(held.task_id)
    expected = ("pending", 2, "ready:quarantine") if hurries else ("success", 3, "")
    assert (record.status, record.attempt, record.index) == expected
    assert record.crashes == 2
    assert await store.audit() == []


@pytest.fixture
def attend(store: TaskStore) -> Callable[[str], Attendant]:
    """An attendant whose quarantine worker is that Python code."""

    def make(code: str) -> Attendant:
        return Attendant((sys.executable, "-c", code), "w", store, 0.5, Outage())

    return make


async def test_one_that_dies_at_once_is_not_started_over_and_over(
    attend: Callable[[str], Attendant], tmp_path: Path
) -> None:
    lives = tmp_path / "lives"
    broken = attend(f"open({str(lives)!r}, 'a').write('.'); raise SystemExit(2)")
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        broken.attend()
        await asyncio.sleep(0.01)
    await broken.stop()
    assert 2 <= len(lives.read_text()) <= 4  # waits of 0, 0.5, 1 and 2 s between them
    assert [wait_before_next(ends) for ends in (1, 2, 3, 4, 9, 1000)] == [0, 0.5, 1, 2, 30, 30]


async def test_one_that_hangs_is_killed_and_the_next_may_come(
    attend: Callable[[str], Attendant], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attendant, "LOOK_EVERY_S", 0.1)
    hanging = attend("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()")
    hanging.attend()
    assert not hanging.is_free

    async def over() -> bool:
        return hanging.is_free

    await eventually(over)
    await hanging.stop()
    assert not hanging.is_free


async def test_stop_kills_one_that_outstays_the_drain_and_stopping_twice_is_harmless(
    attend: Callable[[str], Attendant], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attendant, "GRACE_S", 0.1)
    ready = tmp_path / "pid"
    stubborn = attend(
        "import os, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"open({str(ready)!r}, 'w').write(str(os.getpid()))\nwhile True: signal.pause()"
    )
    stubborn.attend()

    async def runs() -> bool:
        return ready.exists() and ready.read_text() != ""

    await eventually(runs)
    await stubborn.stop()
    await stubborn.stop()
    assert not psutil.pid_exists(int(ready.read_text()))
    stubborn.attend()
    assert not stubborn.is_free


async def test_a_worker_without_a_command_attends_to_nothing(store: TaskStore) -> None:
    none = Attendant((), "w", store, 0.5, Outage())
    none.attend()
    assert not none.is_free
    await none.stop()
