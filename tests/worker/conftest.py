import asyncio
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import agent  # noqa: F401  sets what langgraph reads when it is imported, as in a worker
from core_config import ROOT, Settings
from monitoring.sharing import MULTIPROC_DIR
from taskstore.records import NewTask, TaskRecord
from taskstore.store import TaskStore

from .forks import Forked


def new_task(message: str = "say hello", **fields: Any) -> NewTask:
    return NewTask(
        **{"task_id": uuid.uuid4().hex, "caller": "alice", "message": message, "model": "M", **fields},
    )


async def eventually(look: Callable[[], Awaitable[Any]], within_s: float = 60) -> Any:
    """The first true answer of `look`; fails when there is none within the time."""
    until = time.monotonic() + within_s
    while True:
        found = await look()
        if found:
            return found
        assert time.monotonic() < until, "it did not happen in time"
        await asyncio.sleep(0.02)


class WorkerProcess:
    def __init__(self, name: str, process: "subprocess.Popen[bytes] | Forked", log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def said(self) -> str:
        return self.log.read_text()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A short lease, so that what happens after one happens soon."""
    return settings.model_copy(update={"lease_seconds": 1.0, "worker_concurrency": 4, "drain_seconds": 2.0})


@pytest.fixture
def start_worker(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Starts real worker processes and ends them with the test; none may have died unless the test killed it."""
    started: list[WorkerProcess] = []

    def start(*flags: str, clock: timedelta | None = None, **changes: Any) -> WorkerProcess:
        """`clock`: by how much the worker's clock is wrong."""
        name = f"w{len(started)}-{uuid.uuid4().hex[:6]}"
        chosen = settings.model_copy(update=changes).model_dump(
            include={"redis_url", "key_prefix", "lease_seconds", "worker_concurrency", "drain_seconds", *changes}
        )
        environment = {**os.environ, **{key.upper(): str(value) for key, value in chosen.items()}}
        log = tmp_path / f"{name}.log"
        log.touch()
        if clock is None and MULTIPROC_DIR not in environment:  # which matter when modules are imported
            started.append(WorkerProcess(name, Forked([name, *flags], environment, log), log))
            return started[-1]
        module = ["tests.worker.scripted"]
        if clock is not None:
            module = ["tests.worker.wrong_clock", str(clock.total_seconds())]
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", *module, name, *flags],
                cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        started.append(WorkerProcess(name, process, log))
        return started[-1]

    yield start
    for worker in started:
        if worker.process.poll() is None:
            worker.signal(signal.SIGCONT)
            worker.process.kill()
        worker.process.wait()


@pytest.fixture
async def ended(store: TaskStore) -> AsyncIterator[Callable[..., Awaitable[TaskRecord]]]:
    """Waits for a task's final record; at the test's end the store must hold to its rules."""

    async def wait(task: NewTask, within_s: float = 60) -> TaskRecord:
        async def final() -> TaskRecord | None:
            record = await store.get(task.task_id)
            return record if record.is_final else None

        record: TaskRecord = await eventually(final, within_s)
        return record

    yield wait
    assert await store.audit() == []


@pytest.fixture
def running(store: TaskStore) -> Callable[..., Awaitable[TaskRecord]]:
    """Waits until a task runs."""

    async def wait(task: NewTask, attempt: int = 1) -> TaskRecord:
        async def now() -> TaskRecord | None:
            record = await store.get(task.task_id)
            return record if record.status == "running" and record.attempt == attempt else None

        record: TaskRecord = await eventually(now)
        return record

    return wait
