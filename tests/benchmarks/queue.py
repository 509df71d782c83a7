"""What the queue itself costs: `python -m tests.benchmarks.queue`. A real Redis, one real worker process, no model.

Prints the pick-up latency of an idle system (from before the submit to inside the agent, by the machine's monotonic
clock), tasks a second with an agent that does nothing, fifty tasks of a second each, and 100 ms tasks on ten slots.
Machines are noisy: compare figures of one run with each other, or run it twice.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from core_config import ROOT, Settings
from taskstore.connection import connect
from taskstore.records import TaskRecord
from taskstore.store import TaskStore
from taskstore.watch import Watcher
from tests.conftest import RedisServer
from tests.worker.conftest import new_task


class Bench:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = TaskStore(connect(settings.redis_address), settings)
        self.watcher = Watcher(connect(settings.redis_address, blocking=True), settings)

    @asynccontextmanager
    async def worker(self, concurrency: int) -> AsyncIterator[None]:
        environment = {
            **os.environ,
            "REDIS_URL": self.settings.redis_address,
            "KEY_PREFIX": self.settings.key_prefix,
            "WORKER_CONCURRENCY": str(concurrency),
            "LOG_LEVEL": "WARNING",
        }
        process = subprocess.Popen([sys.executable, "-m", "tests.worker.scripted", "bench"], cwd=ROOT, env=environment)
        try:
            yield
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 40)

    async def backlog(self, message: str, tasks: int, concurrency: int) -> float:
        """Seconds from the first start to the last end of tasks that were all queued before the worker started."""
        submitted = [new_task(message) for _ in range(tasks)]
        for at in range(0, tasks, 100):
            await asyncio.gather(*(self.store.submit(task) for task in submitted[at : at + 100]))
        async with self.worker(concurrency):
            while (counts := await self.store.overview()).queued or counts.running:
                await asyncio.sleep(0.05)
            records = [await self.store.get(task.task_id) for task in submitted]
        return max(map(_end, records)) - min(map(_start, records))

    async def pick_up(self, tasks: int) -> list[float]:
        """Milliseconds from before the submit until the agent runs, one task at a time."""
        waits = []
        async with self.worker(50):
            while not (await self.store.overview()).workers:
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)  # let it settle into its idle wait
            for _ in range(tasks):
                task = new_task("clock")
                before = time.monotonic_ns()
                await self.store.submit(task)
                record = await self.watcher.wait_final(self.store, task.task_id, timeout_s=10)
                waits.append((int(record.result or 0) - before) / 1e6)
        return waits


def _start(record: TaskRecord) -> float:
    assert record.started_at is not None
    return record.started_at.timestamp()


def _end(record: TaskRecord) -> float:
    assert record.completed_at is not None
    return record.completed_at.timestamp()


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="longhaul-bench-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            bench = Bench(Settings(redis_url=server.url, key_prefix="bench:"))
            await bench.watcher.start()
            waits = await bench.pick_up(500)
            percentiles = statistics.quantiles(waits, n=100)
            print(f"pick-up, idle              p50 {percentiles[49]:6.2f} ms   p99 {percentiles[98]:6.2f} ms")
            seconds = await bench.backlog("say nothing", 10_000, 50)
            print(f"no-op tasks, 50 slots      {10_000 / seconds:6.0f} a second")
            seconds = await bench.backlog("sleep 1", 50, 50)
            print(f"50 tasks of 1 s, 50 slots  {seconds:6.2f} s")
            seconds = await bench.backlog("sleep 0.1", 300, 10)
            print(f"100 ms tasks, 10 slots     {300 / seconds:6.1f} a second, of 100")
            await bench.watcher.stop()
        finally:
            server.kill()


if __name__ == "__main__":
    asyncio.run(main())
