"""Reading tasks' streams a page at a time, from exactly where a reader was.

Every read begins with the entry that was read last: when it is no longer there, entries have been trimmed (a stream
keeps about the last 10,000), and the reader is told, instead of going on as if nothing were missing.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from core_config import Settings

from .errors import StoreUnavailable
from .events import TaskEvent, event_from
from .keys import Keys
from .scripts import AWAY
from .watch import BROKEN

PAGE = 200
"""Most entries that one read takes of one stream."""
STREAMS = 50
"""Most streams that are read in one round trip."""


def order_of(event_id: str) -> tuple[int, int]:
    """By which events of one task compare."""
    ms, _, number = event_id.partition("-")
    return int(ms), int(number)


@dataclass(frozen=True, slots=True)
class Page:
    """What follows a place in a stream."""

    events: Sequence[TaskEvent]
    missed: bool
    """Entries between the place and these are gone."""
    gone: bool
    """There is no such stream: the task was forgotten."""
    more: bool
    """The page is full, so there may be more."""
    last: str | None
    """Where the reader is now."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    task_id: str
    after: str | None
    page: asyncio.Future[Page]


class StreamReader:
    """Reads streams for everybody in a process on one connection: what is asked for while a round trip is under way
    goes together in the next one.
    """

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._keys = Keys(settings.key_prefix)
        self._wanted: list[_Wanted] = []
        self._reading: asyncio.Task[None] | None = None

    async def after(self, task_id: str, event_id: str | None) -> Page:
        """The events that follow that one, or the first ones. Raises StoreUnavailable."""
        one = _Wanted(task_id, event_id, asyncio.get_running_loop().create_future())
        self._wanted.append(one)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_all(), name="streams")
        return await one.page

    async def _read_all(self) -> None:
        try:
            while self._wanted:
                batch, self._wanted = self._wanted[:STREAMS], self._wanted[STREAMS:]
                pages: Sequence[Page | Exception]
                try:
                    pages = await self._read(batch)
                except BROKEN as error:
                    pages = [StoreUnavailable(f"Redis did not answer: {error}")] * len(batch)
                except Exception as error:  # noqa: BLE001  whoever waits for a page gets it, and nobody hangs
                    pages = [error] * len(batch)
                for one, page in zip(batch, pages, strict=True):
                    _answer(one.page, page)
        finally:
            self._reading = None

    async def _read(self, batch: Sequence[_Wanted]) -> Sequence[Page | Exception]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for one in batch:
                # one more than a page: the first is the one that was read last
                pipe.xrange(self._keys.events(one.task_id), min=one.after or "-", count=PAGE + 1)
            found = await pipe.execute(raise_on_error=False)
        pages = [_page(one, entries) for one, entries in zip(batch, found, strict=True)]
        return [await self._end_of(one) if page is None else page for one, page in zip(batch, pages, strict=True)]

    async def _end_of(self, one: _Wanted) -> Page:
        """Of a stream that has neither the entry that was read last nor any after it: it is gone, or Redis has lost
        the last that it had (a power cut, a failover).
        """
        entries = await self._redis.xrevrange(self._keys.events(one.task_id), count=1)
        last = entries[0][0] if entries else one.after
        return Page((), missed=bool(entries), gone=not entries, more=False, last=last)


def _page(one: _Wanted, entries: Any) -> Page | Exception | None:
    """None when the stream is not as the reader knew it."""
    if isinstance(entries, Exception):  # of this key alone, such as a wrong type, or of a Redis that is loading
        away = not isinstance(entries, ResponseError) or str(entries).split(" ", 1)[0] in AWAY
        return StoreUnavailable(f"Redis did not answer: {entries}") if away else entries
    events = [event_from(entry_id, fields) for entry_id, fields in entries]
    if not events:
        return None
    more, last = len(events) > PAGE, events[-1].id
    known = events[0].is_submit if one.after is None else events[0].id == one.after
    if known and one.after is not None:
        del events[0]
    return Page(events, missed=not known, gone=False, more=more, last=last)


def _answer(waiting: asyncio.Future[Page], page: Page | Exception) -> None:
    if waiting.done():  # whoever asked has left
        return
    if isinstance(page, Exception):
        waiting.set_exception(page)
    else:
        waiting.set_result(page)
