"""dramatiq on threads, in one process; the worker is its own command's. It keeps no results unless told to."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from loadtest.bench.peers import driver, given
from loadtest.bench.peers.marks import Marker

MARKER = Marker(given.MARKS)


def run(number: int, seconds: float) -> None:
    slot = MARKER.began(number)
    time.sleep(seconds)
    MARKER.ended(slot)


dramatiq.set_broker(RedisBroker(url=given.REDIS))
actor: Any = dramatiq.actor(run)


@asynccontextmanager
async def connected() -> AsyncIterator[driver.Submit]:
    async def submit(number: int, seconds: float) -> None:
        actor.send(number, seconds)

    yield submit


def work() -> None:
    command = Path(sys.executable).with_name("dramatiq")
    os.execv(  # noqa: S606 no shell is wanted
        command,
        [str(command), "loadtest.bench.peers.dramatiq_queue", "--processes", "1", "--threads", str(given.CONCURRENCY)],
    )


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        work()
    else:
        asyncio.run(driver.drive(connected))
