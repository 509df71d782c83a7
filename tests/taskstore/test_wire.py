"""The one connection that all verbs of a process go over: whose answer is whose, what is slow, what is lost."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
import uvloop
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from core_config import Settings
from taskstore.connection import COMMAND_TIMEOUT_S, connect, connection_pool
from taskstore.store import TaskStore
from taskstore.wire import Wire
from tests.conftest import RedisServer

AT_ONCE = 500
SHORT_S = 1.5
"""Long enough for a Redis on a machine that is busy with other things."""


def wire_to(settings: Settings, timeout_s: float = COMMAND_TIMEOUT_S) -> Wire:
    return Wire(connection_pool(settings.redis_address).make_connection, timeout_s)


@pytest.fixture
async def wire(private_settings: Settings) -> AsyncIterator[Wire]:
    made = wire_to(private_settings)
    yield made
    await made.aclose()


@pytest.fixture
async def hasty(private_settings: Settings) -> AsyncIterator[Wire]:
    made = wire_to(private_settings, SHORT_S)
    yield made
    await made.aclose()


@contextmanager
def stopped(server: RedisServer) -> Iterator[None]:
    assert server.process
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


async def connections(settings: Settings) -> int:
    """Redis's, but for the one that asks."""
    async with connect(settings.redis_address) as client:
        return len(await client.client_list()) - 1


async def test_many_at_once_get_each_its_own_answer_over_one_connection(wire: Wire, private_settings: Settings) -> None:
    words = [f"{number} €" for number in range(AT_ONCE)]
    assert await asyncio.gather(*(wire.send("ECHO", word) for word in words)) == words
    assert await connections(private_settings) == 1


async def test_an_answer_that_is_an_error_is_only_its_own_askers(wire: Wire) -> None:
    asked = [wire.send("ECHO", "before"), wire.send("HGET", "no", 1, 2.5, "more"), wire.send("ECHO", b"after")]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert answers[::2] == ["before", "after"]
    assert isinstance(answers[1], ResponseError)


async def test_who_leaves_takes_nobodys_answer_along(wire: Wire) -> None:
    await wire.send("PING")
    asked = [asyncio.ensure_future(wire.send("ECHO", str(number))) for number in range(10)]
    await asyncio.sleep(0)  # all are sent
    for one in asked[::2]:
        one.cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert answers[1::2] == ["1", "3", "5", "7", "9"]
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])


async def test_who_leaves_while_it_connects_leaves_the_others_connected(wire: Wire) -> None:
    asked = [asyncio.ensure_future(wire.send("ECHO", str(number))) for number in range(3)]
    await asyncio.sleep(0)
    asked[0].cancel()
    assert await asyncio.gather(*asked[1:]) == ["1", "2"]


async def test_a_redis_that_is_away_is_told_at_once_to_all_and_found_again(
    wire: Wire, private_server: RedisServer
) -> None:
    await wire.send("PING")
    private_server.kill()
    answers = await asyncio.gather(*(wire.send("PING") for _ in range(20)), return_exceptions=True)
    assert all(isinstance(answer, RedisConnectionError) for answer in answers)
    private_server.start()
    assert await wire.send("PING") == "PONG"


async def test_what_is_overdue_is_told_so_and_what_is_not_gets_its_answer(
    hasty: Wire, private_server: RedisServer, private_settings: Settings
) -> None:
    """Of one connection. What comes after does not queue there: it may be dead."""
    await hasty.send("PING")
    slow = hasty._line
    with stopped(private_server):
        first = asyncio.ensure_future(hasty.send("ECHO", "first"))
        await asyncio.sleep(SHORT_S * 0.9)
        second = asyncio.ensure_future(hasty.send("ECHO", "second"))
        with pytest.raises(RedisTimeoutError):
            await first
        third = asyncio.ensure_future(hasty.send("ECHO", "third"))
        await asyncio.sleep(0)
        assert not second.done()
    assert [await second, await third] == ["second", "third"]
    assert hasty._line is not slow
    async with asyncio.timeout(10):
        while await connections(private_settings) != 1:  # the slow one is left once nobody waits for it
            await asyncio.sleep(0.01)


async def test_a_connection_that_answers_nothing_is_left(hasty: Wire, private_server: RedisServer) -> None:
    await hasty.send("PING")
    with stopped(private_server):
        answers = await asyncio.gather(*(hasty.send("PING") for _ in range(5)), return_exceptions=True)
        assert all(isinstance(answer, RedisTimeoutError) for answer in answers)
    assert await hasty.send("ECHO", "well") == "well"


def test_a_loop_that_was_held_up_reads_before_it_complains(private_settings: Settings) -> None:
    """uvloop runs its timers before it reads."""

    async def ask() -> None:
        wire = wire_to(private_settings, SHORT_S)
        await wire.send("PING")
        asked = asyncio.ensure_future(wire.send("PING"))
        await asyncio.sleep(0)
        time.sleep(1.2 * SHORT_S)  # an agent's code that blocks
        assert await asked == "PONG"
        await wire.aclose()

    uvloop.run(ask())


async def test_a_closed_wire_tells_who_waits_and_leaves_nothing_open(
    private_server: RedisServer, private_settings: Settings
) -> None:
    wire = wire_to(private_settings)
    await wire.send("PING")
    with stopped(private_server):
        asked = asyncio.ensure_future(wire.send("PING"))
        await asyncio.sleep(0)
        await wire.aclose()
        with pytest.raises(RedisConnectionError):
            await asked
    async with asyncio.timeout(10):
        while await connections(private_settings):
            await asyncio.sleep(0.01)


async def test_half_a_character_is_written_as_a_question_mark(wire: Wire) -> None:
    assert await wire.send("ECHO", "a\ud800b") == "a?b"


async def test_scripts_that_redis_forgot_are_loaded_again(store: TaskStore) -> None:
    await store.overview()
    await store.redis.script_flush()
    assert (await store.overview()).queued == 0
