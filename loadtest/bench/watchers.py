"""People who watch tasks and to whom nothing happens: connections that hold an event stream open."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from loadtest.bench import http_client
from loadtest.bench.stage import BenchError, Stage

_AT_ONCE: Final = 50


async def watch(stage: Stage, url: str, headers: Mapping[str, str], ids: Sequence[str], watchers: int) -> None:
    """Each has a connection of its own until the visit ends, and has read its first event when this returns."""
    address, connecting = urlsplit(url), asyncio.Semaphore(_AT_ONCE)

    async def one(task_id: str) -> None:
        async with connecting:
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            stage.stack.callback(writer.close)
            writer.write(http_client.get(f"/task/{task_id}/events", headers).encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise BenchError(f"an event stream was refused: {head.decode('latin-1')}")
            await reader.readuntil(b"\ndata:")

    await asyncio.gather(*(one(ids[number % len(ids)]) for number in range(watchers)))
