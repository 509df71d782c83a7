"""Following tasks' events: read once for all who follow, from exactly where each was, through what Redis does."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from core_config import Settings
from taskstore import watch
from taskstore.connection import connect
from taskstore.errors import StoreUnavailable
from taskstore.events import TaskEvent
from taskstore.follow import KEPT, Follower, Watch
from taskstore.records import NewTask
from taskstore.store import TaskStore
from taskstore.stream import PAGE
from taskstore.watch import Watcher
from tests.conftest import RedisServer

Ids = list[str]


@pytest.fixture
async def follower(private_store: TaskStore, private_settings: Settings) -> AsyncIterator[Follower]:
    async with connect(private_settings.redis_address, blocking=True) as listening:
        watcher = Watcher(listening, private_settings)
        await watcher.start()
        yield Follower(private_store.redis, watcher, private_settings)
        await watcher.stop()


async def submit(store: TaskStore, task_id: str = "t1") -> None:
    await store.submit(NewTask(task_id=task_id, caller="alice", message="x", model="M"))


async def say(store: TaskStore, count: int, task_id: str = "t1") -> Ids:
    """Adds so many tokens to the task's stream; their ids."""
    key = store.keys.events(task_id)
    async with store.redis.pipeline() as pipe:
        for number in range(count):
            pipe.xadd(
                key,
                {"type": "token", "status": "running", "attempt": 1, "fence": 1, "at": 0, "kind": "text",
                 "number": 1, "text": str(number)},
            )  # fmt: skip
        pipe.publish(key, "x")
        *ids, _ = await pipe.execute()
    return ids


async def in_store(store: TaskStore, task_id: str = "t1") -> Ids:
    return [entry_id for entry_id, _ in await store.redis.xrange(store.keys.events(task_id))]


async def read(watch: Watch, until: Callable[[list[TaskEvent]], bool]) -> Ids:
    """What comes, until that holds of all that came."""
    events: list[TaskEvent] = []
    async with asyncio.timeout(30):
        while True:
            try:
                news = await watch.news()
            except StoreUnavailable:
                await asyncio.sleep(0.05)
                continue
            assert not news.missed
            assert not news.gone
            events += news.events
            if until(events):
                return [event.id for event in events]
            if not news.events:
                await watch.changed(30)


def so_many(count: int) -> Callable[[list[TaskEvent]], bool]:
    return lambda events: len(events) >= count


async def commands(store: TaskStore) -> int:
    stats = await store.redis.info("commandstats")
    return int(stats.get("cmdstat_xrange", {"calls": 0})["calls"])


async def caught_up(store: TaskStore, watches: list[Watch]) -> None:
    """All have read what there is, and the subscription has begun."""
    last = (await in_store(store))[-1]
    async with asyncio.timeout(20):
        while (await store.redis.pubsub_numsub(store.keys.events("t1")))[0][1] == 0:
            await asyncio.sleep(0.01)
        while any(watch.after != last for watch in watches):
            await asyncio.sleep(0.01)


async def test_an_event_is_read_once_for_all_who_follow(private_store: TaskStore, follower: Follower) -> None:
    store = private_store
    await submit(store)
    watches: list[Watch] = []

    async def follow() -> Ids:
        async with follower.follow("t1") as watch:
            watches.append(watch)
            return await read(watch, lambda events: bool(events) and events[-1].text == "end")

    readers = [asyncio.create_task(follow()) for _ in range(50)]
    async with asyncio.timeout(20):
        while len(watches) < 50:
            await asyncio.sleep(0.01)
    await caught_up(store, watches)
    before = await commands(store)
    for number in range(10):
        ids = await say(store, 1)
        async with asyncio.timeout(20):
            while any(watch.after != ids[-1] for watch in watches):
                await asyncio.sleep(0.005)
        assert await commands(store) - before <= 2 * (number + 1), "50 watchers, and each event was read once"
    key = store.keys.events("t1")
    await store.redis.xadd(
        key, {"type": "token", "status": "running", "attempt": 1, "fence": 1, "at": 0, "kind": "text", "number": 1,
              "text": "end"},
    )  # fmt: skip
    await store.redis.publish(key, "x")
    found = await asyncio.gather(*readers)
    assert found == [await in_store(store)] * 50
    assert follower.watched == 0
    assert not follower._feeds


async def test_who_falls_behind_what_is_kept_gets_everything_all_the_same(
    private_store: TaskStore, follower: Follower
) -> None:
    store = private_store
    await submit(store)
    async with follower.follow("t1") as quick, follower.follow("t1") as slow:
        for watch in (quick, slow):
            await read(watch, so_many(1))
            assert not (await watch.news()).events
        seen: Ids = []
        for _ in range(3):
            ids = await say(store, KEPT)
            seen += await read(quick, so_many(len(ids)))
        assert seen == (await in_store(store))[1:]
        assert await read(slow, so_many(3 * KEPT)) == seen


async def test_pages_are_put_together_without_a_seam(private_store: TaskStore, follower: Follower) -> None:
    await submit(private_store)
    await say(private_store, 2 * PAGE + 50)
    whole = await in_store(private_store)
    for place in (0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, len(whole) - 2):
        async with follower.follow("t1", whole[place]) as watch:
            assert await read(watch, so_many(len(whole) - place - 1)) == whole[place + 1 :]
            assert not (await watch.news()).events


async def test_what_was_trimmed_and_what_redis_lost_is_missed_and_not_passed_over(
    private_store: TaskStore, follower: Follower
) -> None:
    store, key = private_store, private_store.keys.events("t1")
    await submit(store)
    await say(store, 20)
    whole = await in_store(store)
    async with follower.follow("t1", whole[3]) as behind, follower.follow("t1", whole[-1]) as ahead:
        await store.redis.xtrim(key, maxlen=10, approximate=False)
        news = await behind.news()
        assert (news.missed, [event.id for event in news.events]) == (True, whole[-10:])
        await store.redis.xdel(key, *whole[-2:])  # as a power cut leaves it
        await store.redis.publish(key, "x")
        async with asyncio.timeout(20):
            while not (news := await ahead.news()).missed:
                await ahead.changed(1)
        assert (news.events, ahead.after) == ((), whole[-3])
        assert not (await ahead.news()).missed, "it is said once"
        ids = await say(store, 1)
        assert await read(ahead, so_many(1)) == ids
        await store.redis.delete(key)
        await store.redis.publish(key, "x")
        async with asyncio.timeout(20):
            while not (await ahead.news()).gone:
                await ahead.changed(1)


async def test_nothing_is_lost_when_redis_restarts_or_cuts_the_subscription(
    private_server: RedisServer, private_store: TaskStore, follower: Follower
) -> None:
    store = private_store
    await submit(store)
    async with follower.follow("t1") as watch:
        reader = asyncio.create_task(read(watch, so_many(1 + 30)))
        await caught_up(store, [watch])
        await say(store, 10)
        await store.redis.client_kill_filter(_type="pubsub")
        await say(store, 10)  # announced to nobody
        await caught_up(store, [watch])
        await asyncio.to_thread(private_server.kill)
        await asyncio.to_thread(private_server.start)
        await say(store, 10)
        assert await reader == await in_store(store)


class DeadEnd:
    """A way to Redis that can stop to pass anything on without being closed, as a broken network does."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.open = asyncio.Event()
        self.open.set()
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        alive = self.connections
        from_redis, to_redis = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(
            self._pass(reader, to_redis, alive), self._pass(from_redis, writer, alive), return_exceptions=True
        )
        for one in (writer, to_redis):
            one.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        while data := await reader.read(65_536):
            if not self.open.is_set() and number == 1:
                continue
            writer.write(data)
            await writer.drain()
        writer.close()


async def test_a_subscription_that_died_in_silence_is_found_out(
    private_server: RedisServer, private_store: TaskStore, private_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SILENCE_S", 0.3)
    monkeypatch.setattr(watch, "SIGN_OF_LIFE_S", 0.3)
    await submit(private_store)
    way = DeadEnd(private_server.port)
    async with await asyncio.start_server(way.serve, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        async with connect(f"redis://127.0.0.1:{port}/0", blocking=True) as listening:
            watcher = Watcher(listening, private_settings)
            await watcher.start()
            follower = Follower(private_store.redis, watcher, private_settings)
            async with follower.follow("t1") as one:
                reader = asyncio.create_task(read(one, so_many(2)))
                await caught_up(private_store, [one])
                await asyncio.sleep(1)  # several silences: a living connection is kept
                assert way.connections == 1
                way.open.clear()
                await say(private_store, 1)
                assert await reader == await in_store(private_store)
                assert way.connections == 2
            await watcher.stop()
