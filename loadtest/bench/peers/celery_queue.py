"""Celery on gevent, results in Redis; the worker is its own command's. JSON, and everything else as it comes."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from celery import Celery

from loadtest.bench.peers import driver, given
from loadtest.bench.peers.marks import Marker

MARKER = Marker(given.MARKS)


def run(number: int, seconds: float) -> None:
    slot = MARKER.began(number)
    time.sleep(seconds)  # gevent's own, in a worker
    MARKER.ended(slot)


app: Any = Celery("bench", broker=given.REDIS, backend=given.REDIS)
app.conf.update(broker_connection_retry_on_startup=True)
task = app.task(run, name="run")


@asynccontextmanager
async def connected() -> AsyncIterator[driver.Submit]:
    async def submit(number: int, seconds: float) -> None:
        task.delay(number, seconds)

    yield submit


def work() -> None:
    """Becomes `celery worker`: gevent has to patch the interpreter before anything else is loaded."""
    os.execv(  # noqa: S606 no shell is wanted
        sys.executable,
        [sys.executable, "-m", "celery", "-A", "loadtest.bench.peers.celery_queue", "worker", "--pool", "gevent",
         "--concurrency", str(given.CONCURRENCY), "--loglevel", "WARNING"],
    )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        work()
    else:
        asyncio.run(driver.drive(connected))
