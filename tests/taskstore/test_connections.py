"""Connections that are closed under those who use them, on the event loop that gateway and workers run on."""

import asyncio
import random

import pytest
import uvloop
from redis.exceptions import ConnectionError as RedisConnectionError

from core_config import Settings
from taskstore.connection import connect, connection_pool
from taskstore.errors import StoreUnavailable
from taskstore.records import NewTask
from taskstore.store import TaskStore
from tests.conftest import RedisServer

ASKING, CUTS, BETWEEN_S = 100, 60, 0.05


def test_a_connection_that_is_closed_is_a_lost_one_on_uvloop_too(settings: Settings) -> None:
    """uvloop's word for a write to a closed transport is RuntimeError, which nobody expects of a Redis that is away."""
    with pytest.raises(RedisConnectionError, match="is closed"):
        uvloop.run(_written_to_when_closed(settings.redis_address))


async def _written_to_when_closed(url: str) -> None:
    pool = connection_pool(url)
    connection = await pool.get_connection()
    connection._writer.transport.abort()
    try:
        await connection.send_command("PING")
    finally:
        await pool.disconnect()


def test_connections_that_are_cut_again_and_again_make_no_other_error(
    private_server: RedisServer, private_settings: Settings
) -> None:
    """Nobody closes what others use, and who finds a connection closed asks again on another."""
    assert uvloop.run(asyncio.wait_for(_asked_while_cut(private_server.url, private_settings), 120)) > 0


async def _asked_while_cut(url: str, settings: Settings) -> int:
    """How many times many at once were answered. Raises what any of them met but StoreUnavailable."""
    dice, answers, cutting = random.Random(1), 0, True

    async def ask(store: TaskStore) -> None:
        nonlocal answers
        while cutting:
            try:
                await store.get("t1")
                answers += 1
            except StoreUnavailable:
                pass
            await asyncio.sleep(dice.uniform(0, 0.003))

    async with connect(settings.redis_address) as redis, connect(url) as killer, asyncio.TaskGroup() as group:
        store = TaskStore(redis, settings)
        await store.submit(NewTask(task_id="t1", caller="alice", message="x", model="M"))
        for _ in range(ASKING):
            group.create_task(ask(store))
        for _ in range(CUTS):
            await killer.client_kill_filter(_type="normal", skipme=True)
            await asyncio.sleep(BETWEEN_S)
        cutting = False
    return answers
