"""The command that a process sends to Redis, overheard with MONITOR: so a bare app can send the very same one."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

from loadtest.bench.stage import BenchError

_WITHIN_S: Final = 10.0
_ARGUMENT: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED: Final = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_MEANS: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}

Command = list[str]


class Overheard:
    """What was sent to the server since it began, but for what scripts call."""

    def __init__(self, lines: asyncio.StreamReader) -> None:
        self._lines = lines
        self._heard: list[Command] = []

    async def command(self, holds: Callable[[Command], bool]) -> Command:
        """The first one of which it holds. Raises BenchError when none comes."""
        try:
            async with asyncio.timeout(_WITHIN_S):
                while True:
                    for one in self._heard:
                        if holds(one):
                            return one
                    self._heard += arguments_of(await self._lines.readline())
        except TimeoutError:
            raise BenchError("Redis was not sent the command that was waited for") from None


@asynccontextmanager
async def overhearing(redis_url: str) -> AsyncIterator[Overheard]:
    address = urlsplit(redis_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=2**24)
    try:
        writer.write(b"MONITOR\r\n")
        if await reader.readline() != b"+OK\r\n":
            raise BenchError("Redis does not let itself be monitored")
        yield Overheard(reader)
    finally:
        writer.close()


def arguments_of(line: bytes) -> list[Command]:
    """The command of one of MONITOR's lines, `+1763… [0 127.0.0.1:50000] "GET" "key"`; none of what a script called."""
    head, _, rest = line.partition(b"] ")
    if not rest or head.endswith(b" lua"):
        return []
    return [[_plain(found).decode() for found in _ARGUMENT.findall(rest)]]


def _plain(quoted: bytes) -> bytes:
    def meant(found: re.Match[bytes]) -> bytes:
        escaped: bytes = found[1]
        if len(escaped) == 3:
            return bytes([int(escaped[1:], 16)])
        return _MEANS.get(escaped, escaped)

    return _ESCAPED.sub(meant, quoted)
