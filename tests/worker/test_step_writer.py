"""The writer of steps, against a Redis of its own that goes away, refuses, or is asked in a bad moment."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from core_config import Settings
from taskstore.claims import Settlement
from taskstore.connection import connect
from taskstore.store import TaskStore
from tests.conftest import RedisServer
from tests.worker.conftest import eventually, new_task
from tests.worker.test_steps import event
from worker.outage import Outage
from worker.steps import StepLog
from worker.writer import Writer


class Bench:
    """A running task of this writer's, on a server that can be killed."""

    def __init__(self, server: RedisServer, store: TaskStore) -> None:
        self.server = server
        self.store = store
        self.writer = Writer(store, Outage())
        self._claims = 0

    async def running(self) -> StepLog:
        task = new_task()
        await self.store.submit(task)
        self._claims += 1
        (claim,) = (await self.store.claim("w1", self._claims, room=1, extra=0, models={"M": None})).tasks
        return StepLog(claim, str, self.writer.noted)

    def outcome(self, log: StepLog) -> Settlement:
        return Settlement(task_id=log.task_id, fence=log.fence, kind="success", result="42")

    async def numbers(self, log: StepLog) -> list[Any]:
        return [one.step["number"] for one in (await self.store.history(log.task_id)).events if one.step]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    server = RedisServer(tmp_path)
    server.start()
    async with connect(server.url) as client:
        made = Bench(server, TaskStore(client, Settings(redis_url=server.url, key_prefix="s:")))
        await made.writer.start()
        yield made
        await made.writer.stop()
    server.kill()


async def test_steps_wait_for_a_redis_that_is_away_and_each_is_there_once(bench: Bench):
    log = await bench.running()
    log.note(event(1))

    async def written() -> bool:
        return await bench.numbers(log) == [1]

    await eventually(written)
    bench.server.kill()
    for number in (2, 3):
        log.note(event(number))

    async def tried_and_put_back() -> bool:
        return bench.writer._outage._since is not None and log in bench.writer._noted

    await eventually(tried_and_put_back)
    log.note(event(4))
    bench.server.start()

    async def all_there() -> bool:
        return await bench.numbers(log) == [1, 2, 3, 4]

    await eventually(all_there)


async def test_an_outcome_waits_for_no_steps_and_takes_those_of_an_outage_along(bench: Bench):
    log = await bench.running()
    bench.server.kill()
    for number in range(1, 4):
        log.note(event(number))
    settling = asyncio.create_task(bench.writer.settle(bench.outcome(log), log))
    bench.server.start()
    async with asyncio.timeout(20):
        assert await settling == "ok"
    assert await bench.numbers(log) == [1, 2, 3]
    record = await bench.store.get(log.task_id)
    assert (record.status, record.result) == ("success", "42")


async def test_steps_that_cannot_be_written_are_counted_and_cost_no_outcome(bench: Bench):
    """The record's own count of bytes is no number: every script that adds to it fails."""
    before, log, after = [await bench.running() for _ in range(3)]
    key = bench.store.keys.task(log.task_id)
    client: Any = bench.store.redis
    await client.hset(key, "step_bytes", "broken")
    for one in (before, log, after):
        one.note(event(1))

    async def dropped() -> bool:
        return log._dropped == 1

    await eventually(dropped)
    for one in (before, log, after):
        one.note(event(2))
        async with asyncio.timeout(20):
            assert await bench.writer.settle(bench.outcome(one), one) == "ok"
        record = await bench.store.get(one.task_id)
        assert (record.status, record.result) == ("success", "42")
    assert [await bench.numbers(one) for one in (before, log, after)] == [[1, 2], [], [1, 2]]

    healthy = await bench.running()
    healthy.note(event(1))
    batch = healthy.take()
    assert batch is not None
    healthy.drop(batch)
    healthy.note(event(2))
    assert await bench.writer.settle(bench.outcome(healthy), healthy) == "ok"
    assert (await bench.store.get(healthy.task_id)).steps_dropped == 1
    assert await bench.numbers(healthy) == [2]


async def test_a_lost_lease_ends_the_noting(bench: Bench):
    log = await bench.running()
    await bench.store.sweep("w1")
    log.note(event(1))

    async def closed() -> bool:
        return log._closed

    await eventually(closed)
    log.note(event(2))
    assert log.take() is None
    assert await bench.numbers(log) == []
