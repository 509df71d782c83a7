"""The proxy against a server that sends back what it gets."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.chaos.proxy import Proxy

SOON_S = 20.0
NEVER_S = 0.3
"""How long nothing has to come for it not to come."""


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1000):
            ECHOED.append(data)
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


ECHOED: list[bytes] = []


@pytest.fixture
async def server() -> AsyncIterator[int]:
    ECHOED.clear()
    listening = await asyncio.start_server(echo, "127.0.0.1", 0)
    yield listening.sockets[0].getsockname()[1]
    listening.close()


@pytest.fixture
async def proxy(server: int) -> AsyncIterator[Proxy]:
    one = Proxy(server)
    await one.start()
    yield one
    await one.stop()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def say(self, text: bytes) -> None:
        self._writer.write(text)
        await self._writer.drain()

    async def hear(self, within_s: float = SOON_S) -> bytes:
        """What comes next; ConnectionError when the connection has ended, in whatever way."""
        data = await asyncio.wait_for(self._reader.read(1000), within_s)
        if not data:
            raise ConnectionResetError
        return data

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
async def client(proxy: Proxy) -> AsyncIterator[Client]:
    one = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
    yield one
    one.close()


async def test_it_passes_bytes_both_ways(client: Client) -> None:
    await client.say(b"hello")
    assert await client.hear() == b"hello"


async def test_a_cut_resets_the_connections_there_are_and_no_others(proxy: Proxy, client: Client) -> None:
    await client.say(b"hello")
    await client.hear()
    assert proxy.cut() == 1
    with pytest.raises(ConnectionError):
        await client.hear()
    again = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
    await again.say(b"again")
    assert await again.hear() == b"again"
    again.close()


async def test_slow_delays_each_way(proxy: Proxy, client: Client) -> None:
    proxy.slow(0.2)
    began = time.monotonic()
    await client.say(b"hello")
    assert await client.hear() == b"hello"
    assert time.monotonic() - began >= 0.4


async def test_half_open_swallows_and_tells_nobody(proxy: Proxy, client: Client) -> None:
    proxy.half_open("both")
    await client.say(b"lost")
    with pytest.raises(TimeoutError):
        await client.hear(NEVER_S)
    assert ECHOED == []
    proxy.heal()
    with pytest.raises(ConnectionError):  # what lost bytes is of no use any more
        await client.hear()


async def test_lost_replies_arrive_and_are_not_answered(proxy: Proxy, client: Client) -> None:
    proxy.half_open("replies")
    await client.say(b"do it")
    with pytest.raises(TimeoutError):
        await client.hear(NEVER_S)
    assert ECHOED == [b"do it"]


async def test_what_lost_nothing_lives_on_when_it_is_healed(proxy: Proxy, client: Client) -> None:
    await client.say(b"hello")
    await client.hear()
    proxy.half_open("both")
    proxy.heal()
    await client.say(b"still here")
    assert await client.hear() == b"still here"


async def test_a_server_that_is_away_ends_the_connection(proxy: Proxy) -> None:
    proxy.target_port = 1
    client = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
    with pytest.raises(ConnectionError):
        await client.hear()
    client.close()
