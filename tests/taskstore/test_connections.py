"""Connections that are closed under those who use them, on the event loop that gateway and workers run on."""

import asyncio
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from redis.exceptions import ConnectionError as RedisConnectionError

from core_config import Settings
from operations.embedded_redis import find_server
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


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_redis_on_a_unix_socket(private_server: RedisServer, tmp_path: Path, run: Callable[..., Any]) -> None:
    """What has no connection yet to keep alive by TCP's means, and answers that come in many parts."""
    with socket_of(private_server, tmp_path / "s") as url:
        assert run(_asked_on(Settings(redis_url=url))) == ["success" * 300_000, 0]


@contextmanager
def socket_of(server: RedisServer, path: Path) -> Iterator[str]:
    """The address of a second server like it, which listens on a socket alone."""
    command = [str(find_server()), "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(server.folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + 60
            while not path.exists():
                assert time.monotonic() < until
                assert process.poll() is None
                time.sleep(0.02)
            yield f"unix://{path}?db=0"
        finally:
            process.kill()


async def _asked_on(settings: Settings) -> list[Any]:
    async with connect(settings.redis_address) as client:
        return [
            await client.wire.send("ECHO", "success" * 300_000),
            (await TaskStore(client, settings).overview()).queued,
        ]


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
