"""SAQ with its Redis queue."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvloop
from saq import Queue, Worker

from loadtest.bench.peers import driver, given
from loadtest.bench.peers.marks import Marker

MARKER = Marker(given.MARKS)


async def run(_: Any, *, number: int, seconds: float) -> None:
    slot = MARKER.began(number)
    await asyncio.sleep(seconds)
    MARKER.ended(slot)


@asynccontextmanager
async def connected() -> AsyncIterator[driver.Submit]:
    queue = Queue.from_url(given.REDIS)
    await queue.connect()

    async def submit(number: int, seconds: float) -> None:
        await queue.enqueue("run", number=number, seconds=seconds)

    yield submit
    await queue.disconnect()


async def work() -> None:
    await Worker(Queue.from_url(given.REDIS), functions=[("run", run)], concurrency=given.CONCURRENCY).start()


if __name__ == "__main__":
    uvloop.run(work() if sys.argv[1] == "worker" else driver.drive(connected))
