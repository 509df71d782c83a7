"""Filling a queue and claiming from it as the rows of depth do, and watching as the row of memory does."""

import asyncio
import functools

import pytest

from core_config import Settings
from loadtest.bench import depth_study, watchers
from loadtest.bench.stage import BenchError
from taskstore.connection import connect
from taskstore.store import TaskStore


async def test_a_queue_is_filled_and_claimed_from(stages):
    async with stages.stage() as stage:
        environment = {"REDIS_URL": stage.redis_url, "ACTIVE_MODEL_KEY": "Simulator"}
        store = functools.partial(depth_study.bench_store, stage, environment)
        await store("fill", 10)
        took = await depth_study.redis_us(stage, 3, functools.partial(store, "claim", 3))
        assert took > 0
        tasks = TaskStore(connect(stage.redis_url), Settings(redis_url=stage.redis_url))
        found = await tasks.overview()
        await tasks.redis.aclose()
        assert (found.queued, found.running) == (7, 3)
        with pytest.raises(BenchError, match="claim 8 of 8 found 0"):
            await store("claim", 8)


async def test_time_of_redis_without_a_script_is_an_error(stages):
    async with stages.stage() as stage:
        with pytest.raises(BenchError, match="no script"):
            await depth_study.redis_us(stage, 1, stage.redis.ping)


async def test_watchers_stay_until_the_visit_ends(stages):
    open_ones: set[str] = set()
    left = asyncio.Event()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split()[1]
        if "refused" in path:
            writer.write(b"HTTP/1.1 404 Not Found\r\n\r\n")
        else:
            open_ones.add(f"{path} {writer.get_extra_info('peername')[1]}")
            writer.write(b"HTTP/1.1 200 OK\r\n\r\nid: 1\ndata: {}\n\n")
        await reader.read()
        left.set()
        writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with stages.stage() as stage:
        await watchers.watch(stage, url, {}, ["a", "b"], 5)
        assert sorted(one.split()[0] for one in open_ones) == ["/task/a/events"] * 3 + ["/task/b/events"] * 2
        assert not left.is_set()
        with pytest.raises(BenchError, match="404"):
            await watchers.watch(stage, url, {}, ["refused"], 1)
    async with asyncio.timeout(60):
        await left.wait()
    server.close()
