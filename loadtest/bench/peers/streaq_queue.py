"""streaQ, on uvloop."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvloop
from streaq import Worker

from loadtest.bench.peers import driver, given
from loadtest.bench.peers.marks import Marker

MARKER = Marker(given.MARKS)


async def run(number: int, seconds: float) -> None:
    slot = MARKER.began(number)
    await asyncio.sleep(seconds)
    MARKER.ended(slot)


def application() -> tuple[Any, Any]:
    """Its worker, which a client needs too, and the task."""
    worker: Any = Worker(redis_url=given.REDIS, concurrency=given.CONCURRENCY)
    return worker, worker.task(run)


@asynccontextmanager
async def connected() -> AsyncIterator[driver.Submit]:
    worker, task = application()
    async with worker:

        async def submit(number: int, seconds: float) -> None:
            await task.enqueue(number, seconds)

        yield submit


async def work() -> None:
    worker, _ = application()
    await worker.run_async()


if __name__ == "__main__":
    uvloop.run(work() if sys.argv[1] == "worker" else driver.drive(connected))
