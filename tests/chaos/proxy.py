"""A TCP proxy on loopback whose connections can be cut, slowed, and left half open."""

import asyncio
from contextlib import suppress
from typing import Final, Literal

Direction = Literal["both", "replies"]

_CHUNK: Final = 65_536


class Proxy:
    """Between one process and one server. Faults hold for the connections there are and for those to come."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = 0
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._delay_s = 0.0
        self._swallows: Direction | None = None

    async def start(self, port: int = 0) -> None:
        """Listens on `port` of 127.0.0.1, or on a free one."""
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self.cut()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._server = None

    @property
    def connections(self) -> int:
        return len(self._links)

    def cut(self) -> int:
        """Resets every connection, as a firewall that forgot them would. Answers how many."""
        links = list(self._links)
        for link in links:
            link.reset()
        return len(links)

    def slow(self, delay_s: float) -> None:
        """Every piece waits that long, in both directions; 0 ends it."""
        self._delay_s = delay_s

    def half_open(self, direction: Direction) -> None:
        """Bytes vanish and nobody is told: both ways, or only what the server answers. New connections open as well."""
        self._swallows = direction

    def heal(self) -> None:
        """As at first. Connections that lost bytes are reset: nobody could make sense of what comes after those."""
        self._delay_s = 0.0
        self._swallows = None
        for link in [link for link in self._links if link.lost_bytes]:
            link.reset()

    async def passes(self, link: "_Link", data: bytes, *, is_reply: bool) -> bool:
        """Whether the piece is to be handed on, once its delay is over."""
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        if self._swallows == "both" or (self._swallows == "replies" and is_reply):
            link.lost_bytes += len(data)
            return False
        return True

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(self, writer, far_writer)
        self._links.add(link)
        try:
            await link.carry(reader, far_reader)
        finally:
            self._links.discard(link)
            link.reset()


class _Link:
    def __init__(self, proxy: Proxy, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self._proxy, self._near, self._far = proxy, near, far
        self.lost_bytes = 0

    def reset(self) -> None:
        self._near.transport.abort()
        self._far.transport.abort()

    async def carry(self, near: asyncio.StreamReader, far: asyncio.StreamReader) -> None:
        """Returns when either side is gone."""
        pumps = [
            asyncio.create_task(self._pump(near, self._far, is_reply=False)),
            asyncio.create_task(self._pump(far, self._near, is_reply=True)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_reply: bool) -> None:
        with suppress(OSError):
            while data := await source.read(_CHUNK):
                if await self._proxy.passes(self, data, is_reply=is_reply):
                    sink.write(data)
                    await sink.drain()
