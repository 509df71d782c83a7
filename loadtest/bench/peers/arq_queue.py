"""Stock arq, as its documentation has it: jobs as pickles, polling every half second, results kept for an hour."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvloop
from arq.connections import RedisSettings, create_pool
from arq.worker import Worker

from loadtest.bench.peers import driver, given
from loadtest.bench.peers.marks import Marker

MARKER = Marker(given.MARKS)


async def run(_: dict[Any, Any], number: int, seconds: float) -> None:
    slot = MARKER.began(number)
    await asyncio.sleep(seconds)
    MARKER.ended(slot)


@asynccontextmanager
async def connected() -> AsyncIterator[driver.Submit]:
    pool = await create_pool(RedisSettings.from_dsn(given.REDIS))

    async def submit(number: int, seconds: float) -> None:
        await pool.enqueue_job("run", number, seconds)

    yield submit
    await pool.aclose()


def work() -> None:
    function: Any = run  # arq's type of a function has no parameters with names
    asyncio.set_event_loop(uvloop.new_event_loop())
    Worker([function], redis_settings=RedisSettings.from_dsn(given.REDIS), max_jobs=given.CONCURRENCY).run()


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        work()
    else:
        uvloop.run(driver.drive(connected))
