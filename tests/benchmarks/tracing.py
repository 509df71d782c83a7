"""What tracing costs tasks: `python -m tests.benchmarks.tracing [rounds] [tasks]`. Real workers with the real agent, a
real Redis, and a scripted model on loopback; a task has three model and two tool calls.

Three workers, of which one works at a time: without Langfuse, with one that takes spans, and with one that takes
connections and answers nothing. Each round has all three in turn, each time in another order, so that the ratios of a
round say more than the figures. Prints medians over the rounds, with the least and the most of each ratio.
"""

import asyncio
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core_config import ROOT, Settings
from taskstore.connection import connect
from taskstore.records import TaskRecord
from taskstore.store import TaskStore
from tests.agent.scripted_provider import Reply, Request, ScriptedProvider, completion
from tests.conftest import RedisServer
from tests.traces.sink import Sink
from tests.worker.conftest import new_task

ROUNDS, TASKS, ONE_BY_ONE = 7, 60, 15
MODES = ("off", "on", "hanging")


class Model(ScriptedProvider):
    def reply_to(self, request: Request) -> Reply:
        self.requests.clear()
        said = [message["role"] for message in request.body["messages"]].count("assistant")
        return completion(calls=[("calculator", {"expression": f"{said} + 1"})]) if said < 2 else completion("Done.")


class Taker(Sink):
    """Keeps nothing of what it takes."""

    batches = 0

    def take(self) -> None:
        self.batches += len(self.requests)
        self.requests.clear()


@dataclass(frozen=True)
class Found:
    """Of one mode in one round."""

    tasks_a_second: float
    cpu_ms: float
    """Of the worker, for a task."""
    p50_ms: float
    """From submit to end, one task at a time."""
    p95_ms: float


class Mode:
    def __init__(self, store: TaskStore, pid: int, sink: Taker | None) -> None:
        self.store, self.pid, self.sink = store, pid, sink

    async def round(self, tasks: int) -> Found:
        began, cpu = time.perf_counter(), _cpu_s(self.pid)
        await self._run(tasks)
        wall, cpu = time.perf_counter() - began, _cpu_s(self.pid) - cpu
        took = []
        for _ in range(ONE_BY_ONE):
            (record,) = await self._run(1)
            assert record.completed_at
            took.append((record.completed_at - record.created_at).total_seconds() * 1000)
        if self.sink:
            self.sink.take()
        return Found(tasks / wall, 1000 * cpu / tasks, statistics.median(took), statistics.quantiles(took, n=20)[-1])

    async def _run(self, tasks: int) -> list[TaskRecord]:
        made = [new_task("go", model="Simulator") for _ in range(tasks)]
        for task in made:
            await self.store.submit(task)
        ended = []
        for task in made:
            while not (record := await self.store.get(task.task_id)).is_final:
                await asyncio.sleep(0.002)
            assert record.status == "success", record.error
            ended.append(record)
        return ended


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def workers(folder: Path, server: RedisServer, port: int) -> Iterator[dict[str, Mode]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.traces.worker"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    modes: dict[str, Mode] = {}
    try:
        for name in MODES:
            sink = None if name == "off" else Taker()
            if sink and name == "hanging":
                sink.hangs.set()
            given = {
                "redis_url": server.url, "key_prefix": f"{name}:", "simulator_port": port, "worker_concurrency": 20,
                "lease_seconds": 20, "log_level": "WARNING",
            }  # fmt: skip
            if sink:
                given |= {"langfuse_public_key": "p", "langfuse_secret_key": "secret", "LANGFUSE_HOST": sink.url}
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps({"name": name, "settings": given, "log": str(folder / name)}) + "\n")
            process.stdin.flush()
            settings = Settings(_env_file=None, redis_url=server.url, key_prefix=f"{name}:")
            store = TaskStore(connect(settings.redis_address), settings)
            modes[name] = Mode(store, int(process.stdout.readline()), sink)
        yield modes
    finally:
        for mode in modes.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(mode.pid, signal.SIGKILL)
            if mode.sink:
                mode.sink.close()
        process.kill()
        process.communicate()


async def main(rounds: int, tasks: int) -> None:
    with tempfile.TemporaryDirectory(prefix="longhaul-bench-") as folder:
        server, model = RedisServer(Path(folder)), Model()
        server.start()
        try:
            with workers(Path(folder), server, model.port) as modes:
                found: dict[str, list[Found]] = {name: [] for name in MODES}
                for mode in modes.values():
                    await mode.round(tasks // 3)  # the first ones load what later ones have
                for turn in range(rounds):
                    order = MODES[turn % 3 :] + MODES[: turn % 3]
                    for name in order:
                        found[name].append(await modes[name].round(tasks))
                for mode in modes.values():
                    await mode.store.redis.aclose()
        finally:
            model.stop()
            server.kill()
    report(found)


def report(found: dict[str, list[Found]]) -> None:
    print(f"{'':8}  {'tasks/s':>22}  {'processor ms':>22}  {'p50 ms, one by one':>22}  {'p95 ms':>22}")
    for name, rounds in found.items():
        cells = []
        for field in ("tasks_a_second", "cpu_ms", "p50_ms", "p95_ms"):
            values = [getattr(one, field) for one in rounds]
            ratios = [value / getattr(off, field) for value, off in zip(values, found["off"], strict=True)]
            spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
            cells.append(f"{statistics.median(values):7.1f} {spread:>15}"[:23])
        print(f"{name:8}  " + "  ".join(f"{cell:>22}" for cell in cells))


if __name__ == "__main__":
    asyncio.run(main(*(int(given) for given in sys.argv[1:3] or (ROUNDS, TASKS))))
