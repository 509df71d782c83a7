"""Waiting for a task to end: woken by its event, on one connection for all, through a restart of Redis."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from core_config import Settings
from taskstore import watch
from taskstore.connection import connect
from taskstore.errors import StoreUnavailable, TaskNotFound
from taskstore.records import NewTask, TaskRecord
from taskstore.states import Status
from taskstore.store import TaskStore
from taskstore.watch import Watcher
from tests.conftest import RedisServer

from .state import Contents


@pytest.fixture(autouse=True)
def _events_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A waiter does not look by itself, so that only an event can wake it."""
    monkeypatch.setattr(watch, "LOOK_EVERY_S", 60.0)


@pytest.fixture
async def watcher(settings: Settings) -> AsyncIterator[Watcher]:
    async with connect(settings.redis_address, blocking=True) as client:
        one = Watcher(client, settings)
        await one.start()
        yield one
        await one.stop()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await holds():
            await asyncio.sleep(0.02)


async def subscribers(store: TaskStore, task_id: str) -> int:
    ((_, count),) = await store.redis.pubsub_numsub(store.keys.events(task_id))
    return int(count)


async def submit(store: TaskStore, task_id: str) -> None:
    await store.submit(NewTask(task_id=task_id, caller="alice", message="x", model="M"))


async def wait_for_wait(store: TaskStore, watcher: Watcher, task_id: str) -> asyncio.Task[Status]:
    """A waiter that is subscribed already."""

    async def wait() -> Status:
        return (await watcher.wait_final(store, task_id, timeout_s=30)).status

    task = asyncio.create_task(wait())

    async def subscribed() -> bool:
        return await subscribers(store, task_id) == 1

    await until(subscribed)
    return task


async def test_a_waiter_wakes_when_its_task_ends_and_not_before(store: TaskStore, watcher: Watcher) -> None:
    await submit(store, "t1")
    waiter = await wait_for_wait(store, watcher, "t1")
    await store.claim("w1", 1, room=1, extra=0, models={"M": None})
    await store.cancel("t1")
    assert not waiter.done()
    await store.sweep(dead="w1")
    assert await asyncio.wait_for(waiter, 5) is Status.CANCELLED


async def test_a_final_task_is_answered_at_once(store: TaskStore, watcher: Watcher) -> None:
    await submit(store, "t1")
    await store.cancel("t1")
    record = await asyncio.wait_for(watcher.wait_final(store, "t1", timeout_s=30), 5)
    assert record.status is Status.CANCELLED


@pytest.mark.parametrize("timeout_s", [0, 0.05])
async def test_a_wait_that_is_over_answers_how_the_task_stands(
    timeout_s: float, store: TaskStore, watcher: Watcher
) -> None:
    await submit(store, "t1")
    record = await asyncio.wait_for(watcher.wait_final(store, "t1", timeout_s=timeout_s), 5)
    assert record.status is Status.PENDING


async def test_another_callers_task_cannot_be_waited_for(store: TaskStore, watcher: Watcher) -> None:
    await submit(store, "t1")
    with pytest.raises(TaskNotFound):
        await watcher.wait_final(store, "t1", caller="mallory", timeout_s=30)


async def test_many_waiters_share_one_connection_and_leave_nothing(
    private_store: TaskStore, private_settings: Settings
) -> None:
    store = private_store
    async with connect(private_settings.redis_address, blocking=True) as client:
        watcher = Watcher(client, private_settings)
        await watcher.start()
        await watcher.start()  # twice is harmless
        for number in range(20):
            await submit(store, f"t{number}")
        waiters = [
            asyncio.create_task(watcher.wait_final(store, f"t{number % 20}", timeout_s=30)) for number in range(60)
        ]

        async def all_subscribed() -> bool:
            return len(await store.redis.pubsub_channels()) == 21

        await until(all_subscribed)
        assert len(await store.redis.client_list(_type="pubsub")) == 1
        # one that gives up does not take the channel from the others
        waiters.pop(0).cancel()
        for number in range(20):
            await store.cancel(f"t{number}")
        records = await asyncio.wait_for(asyncio.gather(*waiters), 10)
        assert {record.status for record in records} == {Status.CANCELLED}

        async def only_its_own() -> bool:
            return list(await store.redis.pubsub_channels()) == [watcher._keys.watch()]

        await until(only_its_own)
        assert not watcher._changes
        await watcher.stop()
        await watcher.stop()

    async def none() -> bool:
        return not await store.redis.client_list(_type="pubsub")

    await until(none)


async def test_a_waiter_survives_a_restart_of_redis(
    private_server: RedisServer, private_store: TaskStore, private_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(private_settings.redis_address, blocking=True) as client:
        watcher = Watcher(client, private_settings)
        await watcher.start()
        await submit(private_store, "t1")
        waiter = await wait_for_wait(private_store, watcher, "t1")
        with caplog.at_level(logging.WARNING):
            await asyncio.to_thread(private_server.kill)
            await asyncio.to_thread(private_server.start)

            async def subscribed_again() -> bool:
                return await subscribers(private_store, "t1") == 1

            await until(subscribed_again)
        assert not waiter.done()
        await private_store.cancel("t1")
        assert await asyncio.wait_for(waiter, 5) is Status.CANCELLED
        await watcher.stop()


async def test_a_wait_goes_on_while_redis_is_away_and_says_so_if_it_stays_away(
    private_server: RedisServer, private_store: TaskStore, private_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LOOK_EVERY_S", 0.05)
    looked = asyncio.Event()
    get = private_store.get

    async def noted(task_id: str, caller: str) -> TaskRecord:
        try:
            return await get(task_id, caller)
        except StoreUnavailable:
            looked.set()
            raise

    async with connect(private_settings.redis_address, blocking=True) as client:
        watcher = Watcher(client, private_settings)
        await submit(private_store, "t1")
        waiter = asyncio.create_task(watcher.wait_final(private_store, "t1", timeout_s=30))
        impatient = asyncio.create_task(watcher.wait_final(private_store, "t1", timeout_s=0.5))

        async def both_wait() -> bool:
            return [len(changes) for changes in watcher._changes.values()] == [2]

        await until(both_wait)
        monkeypatch.setattr(private_store, "get", noted)
        await asyncio.to_thread(private_server.kill)
        await asyncio.wait_for(looked.wait(), 10)
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(impatient, 10)
        await asyncio.to_thread(private_server.start)
        await private_store.cancel("t1")
        assert (await asyncio.wait_for(waiter, 10)).status is Status.CANCELLED


async def test_what_happened_while_redis_was_away_is_seen_on_return(
    private_server: RedisServer, private_store: TaskStore, private_settings: Settings
) -> None:
    """The event was published to nobody: the subscription was lost just before."""
    async with connect(private_settings.redis_address, blocking=True) as client:
        watcher = Watcher(client, private_settings)
        await watcher.start()
        await submit(private_store, "t1")
        waiter = await wait_for_wait(private_store, watcher, "t1")
        await private_store.redis.client_kill_filter(_type="pubsub")
        await private_store.cancel("t1")
        assert await asyncio.wait_for(waiter, 10) is Status.CANCELLED
        await watcher.stop()


async def test_without_a_subscription_a_waiter_looks_by_itself(
    store: TaskStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LOOK_EVERY_S", 0.05)
    async with connect(settings.redis_address, blocking=True) as client:
        watcher = Watcher(client, settings)  # never started
        await submit(store, "t1")
        waiter = asyncio.create_task(watcher.wait_final(store, "t1", timeout_s=30))
        await asyncio.sleep(0)
        await store.cancel("t1")
        assert (await asyncio.wait_for(waiter, 5)).status is Status.CANCELLED


@pytest.mark.parametrize("turns", range(0, 40, 2))
async def test_whoever_comes_while_the_subscription_is_made_is_in_it(
    turns: int, store: TaskStore, settings: Settings, contents: Contents
) -> None:
    async with connect(settings.redis_address, blocking=True) as client:
        watcher = Watcher(client, settings)
        await watcher.start()
        for _ in range(turns):
            await asyncio.sleep(0)
        async with watcher.following("t1") as change:

            async def subscribed() -> bool:
                return await subscribers(store, "t1") == 1

            await until(subscribed)
            await contents.client.publish(contents.prefix + "events:t1", "1-1")
            await asyncio.wait_for(change.wait(), 5)
        await watcher.stop()
