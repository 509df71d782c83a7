"""taskiq with Redis streams, which acknowledge, and its Redis result backend; the worker is its own command's."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from loadtest.bench.peers import driver, given
from loadtest.bench.peers.marks import Marker

MARKER = Marker(given.MARKS)


async def run(number: int, seconds: float) -> None:
    slot = MARKER.began(number)
    await asyncio.sleep(seconds)
    MARKER.ended(slot)


broker: Any = RedisStreamBroker(given.REDIS).with_result_backend(RedisAsyncResultBackend(given.REDIS))
task = broker.register_task(run, task_name="run")


@asynccontextmanager
async def connected() -> AsyncIterator[driver.Submit]:
    await broker.startup()

    async def submit(number: int, seconds: float) -> None:
        await task.kiq(number, seconds)

    yield submit
    await broker.shutdown()


def work(module: str) -> None:
    """Becomes `taskiq worker`, with one process and without a line a task in its log."""
    command = Path(sys.executable).with_name("taskiq")
    os.execv(  # noqa: S606 no shell is wanted
        command,
        [str(command), "worker", f"{module}:broker", "--workers", "1", "--max-async-tasks", str(given.CONCURRENCY),
         "--log-level", "WARNING"],
    )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        work("loadtest.bench.peers.taskiq_queue")
    else:
        uvloop.run(driver.drive(connected))
