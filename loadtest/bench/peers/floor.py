"""The floor: a list in Redis that the client pushes to and the worker pops. Nothing is kept."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvloop
from redis.asyncio import Redis

from loadtest.bench.peers import driver, given
from loadtest.bench.peers.marks import Marker


@asynccontextmanager
async def connected() -> AsyncIterator[driver.Submit]:
    async with Redis.from_url(given.REDIS) as redis:

        async def submit(number: int, seconds: float) -> None:
            await redis.rpush(given.QUEUE, f"{number} {seconds}")

        yield submit


async def work() -> None:
    marker = Marker(given.MARKS)
    async with Redis.from_url(given.REDIS) as redis:
        while True:
            popped = await redis.blpop([given.QUEUE], timeout=5)
            if popped:
                number, seconds = popped[1].split()
                slot = marker.began(int(number))
                await asyncio.sleep(float(seconds))
                marker.ended(slot)


if __name__ == "__main__":
    uvloop.run(work() if sys.argv[1] == "worker" else driver.drive(connected))
