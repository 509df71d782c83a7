"""taskiq with a Redis list: one round trip to take a task, and what a killed worker held is lost."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvloop
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

from loadtest.bench.peers import driver, given
from loadtest.bench.peers.taskiq_queue import run, work

broker: Any = ListQueueBroker(given.REDIS).with_result_backend(RedisAsyncResultBackend(given.REDIS))
task = broker.register_task(run, task_name="run")


@asynccontextmanager
async def connected() -> AsyncIterator[driver.Submit]:
    await broker.startup()

    async def submit(number: int, seconds: float) -> None:
        await task.kiq(number, seconds)

    yield submit
    await broker.shutdown()


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        work("loadtest.bench.peers.taskiq_lists")
    else:
        uvloop.run(driver.drive(connected))
