"""Longhaul's client in a benchmark of the queue: the store's own submit, as the gateway calls it. Not for people.

It stands here because loadtest imports nothing of ours. loadtest/bench/queue_study.py runs it as it runs a peer's
client; what each line of its input asks for is in loadtest/bench/peers/driver.py.
"""

import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvloop

from core_config import Settings
from loadtest.bench.peers import driver
from taskstore.connection import connect
from taskstore.records import NewTask
from taskstore.store import TaskStore


@asynccontextmanager
async def connected() -> AsyncIterator[driver.Submit]:
    settings = Settings()
    store = TaskStore(connect(settings.redis_address), settings)
    agent, model = sys.argv[1:3]

    async def submit(number: int, seconds: float) -> None:
        message = f"{number} {seconds}"
        await store.submit(NewTask(task_id=uuid.uuid4().hex, caller="bench", message=message, model=model, agent=agent))

    yield submit
    await store.redis.aclose()


if __name__ == "__main__":
    uvloop.run(driver.drive(connected))
