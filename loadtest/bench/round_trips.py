"""How often Redis is asked: its read events, of which what a client sends in one go is one."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from loadtest.bench.stage import Stage

_SETTLE_S = 0.1  # what a worker still writes after the last task's end


class Counted:
    """`trips` is there when the block has ended."""

    trips: float


class RoundTrips:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.by_the_clock = 0.0
        """A second, with nothing to do: heartbeats, polls. They are taken off what is counted."""

    async def watch_the_clock(self, seconds: float) -> None:
        async with self.counted() as quiet:
            await asyncio.sleep(seconds)
        self.by_the_clock = quiet.trips / (seconds + _SETTLE_S)

    @asynccontextmanager
    async def counted(self, *, clock: bool = True) -> AsyncIterator[Counted]:
        """What everybody asks meanwhile, less what the `clock` makes them ask: nothing while they stand still."""
        found, begun = Counted(), time.monotonic()
        before = await self._stage.reads()
        yield found
        await asyncio.sleep(_SETTLE_S)
        asked = await self._stage.reads() - before - 1  # that question itself
        found.trips = max(0.0, asked - (self.by_the_clock * (time.monotonic() - begun) if clock else 0.0))
