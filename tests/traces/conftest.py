"""Real workers that send real traces to a real sink, with the simulator as their model."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core_config import ROOT, SIMULATOR, Settings
from taskstore.errors import StoreUnavailable
from taskstore.records import NewTask, TaskRecord
from taskstore.store import TaskStore
from tests.simulator.server import Server, running
from tests.worker.conftest import eventually

from .exporting import make, otlp
from .sink import Sink, Tree, sink

__all__ = ["make", "otlp"]

PUBLIC, SECRET = "public-key-of-langfuse", "canary.langfuse.7c6b5a49"
AGENTS = """
[agents.stepping]
run = "tests.traces.agents:stepping"
tools = ["calculator"]
"""


@dataclass
class Worker:
    name: str
    pid: int
    log: Path

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    @property
    def is_dead(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def said(self) -> str:
        return self.log.read_text()


StartWorker = Callable[..., Worker]


@pytest.fixture(scope="module")
def simulator() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture(scope="module")
def forks() -> Iterator["subprocess.Popen[str]"]:
    """Imports the agent and Langfuse once for all workers of a file. Spans are sent soon, not after five seconds."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.traces.worker"],
        cwd=ROOT,
        env={**os.environ, "LANGFUSE_FLUSH_INTERVAL": "0.1", "OTEL_BSP_SCHEDULE_DELAY": "100"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def langfuse() -> Iterator[Sink]:
    with sink() as running:
        yield running


@pytest.fixture
def start(
    forks: "subprocess.Popen[str]", settings: Settings, simulator: Server, langfuse: Sink, tmp_path: Path
) -> Iterator[StartWorker]:
    """Starts workers that trace to `langfuse`, unless told otherwise."""
    started: list[Worker] = []
    (tmp_path / "agents.toml").write_text(AGENTS)

    def begin(**changes: Any) -> Worker:
        name = f"w{len(started)}-{uuid.uuid4().hex[:6]}"
        given = {
            "redis_url": settings.redis_url, "key_prefix": settings.key_prefix, "lease_seconds": 30, "drain_seconds": 2,
            "simulator_port": int(simulator.root.rpartition(":")[2]), "worker_concurrency": 8,
            "agents_file": str(tmp_path / "agents.toml"), "langfuse_public_key": PUBLIC,
            "langfuse_secret_key": SECRET, "LANGFUSE_HOST": langfuse.url, **changes,
        }  # fmt: skip
        log = tmp_path / f"{name}.log"
        assert forks.stdin
        assert forks.stdout
        forks.stdin.write(json.dumps({"name": name, "settings": given, "log": str(log)}) + "\n")
        forks.stdin.flush()
        started.append(Worker(name, int(forks.stdout.readline()), log))
        return started[-1]

    yield begin
    for worker in started:
        if not worker.is_dead:
            worker.signal(signal.SIGKILL)


Submit = Callable[..., Any]


@pytest.fixture
def submit(store: TaskStore) -> Submit:
    """Submits a task for the simulator; answers its id."""

    async def send(message: str, **fields: Any) -> str:
        task = NewTask(
            **{"task_id": uuid.uuid4().hex, "caller": "alice", "message": message, "model": SIMULATOR, **fields}
        )
        await store.submit(task)
        return task.task_id

    return send


@pytest.fixture
def ended(store: TaskStore) -> Callable[..., Any]:
    """Waits for a task's final record."""

    async def wait(task_id: str) -> TaskRecord:
        async def final() -> TaskRecord | None:
            with contextlib.suppress(StoreUnavailable):  # of a machine that is very busy
                record = await store.get(task_id)
                return record if record.is_final else None
            return None

        record: TaskRecord = await eventually(final, 180)
        return record

    return wait


def tree_of(sink: Sink, trace_id: str, above: str = "") -> Tree:
    """The task's trace once its root has come, which is sent last. Others of its batch have come with it."""
    sink.until(lambda spans: any(one.trace_id == trace_id and one.parent_id == above for one in spans))
    return Tree(sink.trace(trace_id), above)
