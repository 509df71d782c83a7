"""Following tasks' events as they come: any number of watchers, and each new event is read once per process.

The first watcher of a task in this process makes a feed of it. Watchers catch up by themselves, from wherever they
are, and from there on take what the feed has read. The feed keeps the last events only: a watcher that falls further
behind reads again for itself, at its own pace, so it costs nobody else anything.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from redis.asyncio import Redis

from core_config import Settings

from .errors import StoreUnavailable
from .events import TaskEvent
from .stream import PAGE, Page, StreamReader, order_of
from .watch import Watcher

KEPT = PAGE
AGAIN_AFTER_S = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class News:
    """What a watcher has not had yet, in order; nothing when it has had all."""

    events: Sequence[TaskEvent] = ()
    missed: bool = False
    """Events before these are gone for good: the store keeps about the last 10,000 of a task."""
    gone: bool = False
    """The task itself was forgotten."""


class Watch:
    """One watcher of one task. `news` says what there is; ask until it is nothing, then `changed` waits for more."""

    def __init__(self, feed: "_Feed", reader: StreamReader, after: str | None) -> None:
        self.after = after
        """The event that it had last; None before the first."""
        self._feed = feed
        self._reader = reader
        self._awake = asyncio.Event()

    async def news(self) -> News:
        """Raises StoreUnavailable; then nothing was taken."""
        self._awake.clear()
        feed = self._feed
        if feed.gone:
            return News(gone=True)
        if self.after is not None and feed.covers(self.after):
            events = feed.since(self.after)
            if events:
                self.after = events[-1].id
            return News(events)
        heard = feed.heard
        page = await self._reader.after(feed.task_id, self.after)
        self.after = page.last
        if not (page.more or page.gone) and page.last is not None:
            feed.begin(page.last, up_to_date=heard == feed.heard)
        return News(page.events, page.missed, page.gone)

    async def changed(self, timeout_s: float) -> bool:
        """True as soon as there may be news or somebody called `wake`; False after `timeout_s` seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._awake.wait()
        except TimeoutError:
            return False
        return True

    def wake(self) -> None:
        """Ends its `changed`."""
        self._awake.set()

    async def once(self, key: object, make: Callable[[], Awaitable[Any]]) -> Any:
        """What `make` answers, asked once for all who watch the task in this process. A failure is not kept."""
        return await self._feed.once(key, make)


class _Feed:
    """One task's events in this process: the last KEPT after `floor`, up to `last`."""

    def __init__(self, task_id: str, reader: StreamReader) -> None:
        self.task_id = task_id
        self.watches: set[Watch] = set()
        self.heard = 0
        """How often the task was said to have changed."""
        self.gone = False
        self.hears = False
        self._reader = reader
        self._events: deque[TaskEvent] = deque()
        self._floor: str | None = None
        self._last: str | None = None
        self._behind = False
        self._reading: asyncio.Task[None] | None = None
        self._made: dict[object, asyncio.Future[Any]] = {}

    def covers(self, after: str) -> bool:
        """Whether all that came after this event is here."""
        return self._floor is not None and order_of(after) >= order_of(self._floor)

    def since(self, after: str) -> list[TaskEvent]:
        place = order_of(after)
        found = list(takewhile(lambda event: order_of(event.id) > place, reversed(self._events)))
        return found[::-1]

    def begin(self, last: str, *, up_to_date: bool) -> None:
        """From `last` on it reads for all; nothing when it does so already."""
        if self._floor is None:
            self._floor = self._last = last
            if not up_to_date:
                self._read_on()

    def change(self) -> None:
        self.heard += 1
        if self._floor is None:
            self._wake()
        else:
            self._read_on()

    def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        for made in self._made.values():
            made.cancel()

    async def once(self, key: object, make: Callable[[], Awaitable[Any]]) -> Any:
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = asyncio.ensure_future(make())
        try:
            return await asyncio.shield(made)
        except BaseException:
            if made.done():
                self._made.pop(key, None)
            raise

    def _read_on(self) -> None:
        self._behind = True
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name=f"feed {self.task_id}")

    async def _read(self) -> None:
        try:
            while self._behind:
                self._behind = False
                try:
                    page = await self._reader.after(self.task_id, self._last)
                except StoreUnavailable:
                    self._behind = True
                    await asyncio.sleep(AGAIN_AFTER_S)
                except Exception:
                    log.exception("events_unreadable", extra={"task": self.task_id})
                    self._forget()
                else:
                    self._take(page)
        finally:
            self._reading = None

    def _take(self, page: Page) -> None:
        self.gone = page.gone
        if page.gone or page.missed:
            self._forget()
        elif page.events:
            self._events.extend(page.events)
            self._last = page.last
            while len(self._events) > KEPT:
                self._floor = self._events.popleft().id
            self._behind = self._behind or page.more
            self._wake()

    def _forget(self) -> None:
        """Each watcher reads for itself again, and finds out what is wrong or what it has missed."""
        self._events.clear()
        self._floor = self._last = None
        self._behind = False
        self._wake()

    def _wake(self) -> None:
        for one in self.watches:
            one.wake()


class Follower:
    """The feeds of this process."""

    def __init__(self, redis: Redis, watcher: Watcher, settings: Settings) -> None:
        """`redis` is a client for commands; `watcher` is started and stopped by whoever made it."""
        self.reader = StreamReader(redis, settings)
        self._watcher = watcher
        self._feeds: dict[str, _Feed] = {}

    @contextlib.asynccontextmanager
    async def follow(self, task_id: str, after: str | None = None) -> AsyncIterator[Watch]:
        """A watch of the task from after that event on, or from its first. Who may see it was asked before."""
        feed = self._feeds.get(task_id)
        if feed is None:
            feed = self._feeds[task_id] = _Feed(task_id, self.reader)
        watch = Watch(feed, self.reader, after)
        feed.watches.add(watch)
        try:
            if not feed.hears:
                feed.hears = True
                await self._watcher.hear(task_id, feed.change)
            yield watch
        finally:
            feed.watches.discard(watch)
            if not feed.watches:
                self._feeds.pop(task_id, None)
                feed.close()
                await self._watcher.unhear(task_id, feed.change)

    @property
    def watched(self) -> int:
        """How many watch something now."""
        return sum(len(feed.watches) for feed in self._feeds.values())

    def wake_all(self) -> None:
        """Ends every watch's `changed`, as at a shutdown."""
        for feed in self._feeds.values():
            for watch in feed.watches:
                watch.wake()
