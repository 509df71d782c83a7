"""Waking up when a task changes: one subscription of a process serves everybody in it who waits.

A published message is a hint, never the truth: it can be lost when Redis restarts, so a waiter also looks by itself
every few seconds.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from core_config import Settings

from .errors import StoreUnavailable
from .keys import Keys
from .records import TaskRecord
from .store import ANY_CALLER, TaskStore

LOOK_EVERY_S = 2.0
RECONNECT_AFTER_S = 0.5

log = logging.getLogger(__name__)


class Watcher:
    """Follows the channels of the tasks that somebody in this process waits for. `start`, `stop`; both may repeat."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        """`redis` is a client made with `connect(url, blocking=True)`: its replies come when they come."""
        self._redis = redis
        self._keys = Keys(settings.key_prefix)
        self._changes: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._pubsub: PubSub | None = None
        self._task: asyncio.Task[None] | None = None
        self._away = False

    async def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._listen(), name="watcher")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    @contextlib.asynccontextmanager
    async def following(self, task_id: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set at each change of the task, from now on; clear it before looking."""
        channel = self._keys.events(task_id)
        change = asyncio.Event()
        self._changes[channel].add(change)
        try:
            await self._subscribe([channel])
            yield change
        finally:
            self._changes[channel].discard(change)
            if not self._changes[channel]:
                del self._changes[channel]
                await self._unsubscribe(channel)

    async def wait_final(
        self, store: TaskStore, task_id: str, *, caller: str = ANY_CALLER, timeout_s: float
    ) -> TaskRecord:
        """The record as soon as the task is final, else as it stands after `timeout_s` seconds.

        Raises TaskNotFound; StoreUnavailable when Redis is away at the start or at the end of the wait. In between
        the wait goes on: the task is not lost, and the caller has nothing better to do.
        """
        record = await store.get(task_id, caller)
        if record.is_final or timeout_s <= 0:
            return record
        until = asyncio.get_running_loop().time() + timeout_s
        async with self.following(task_id) as change:
            while True:
                change.clear()
                left = until - asyncio.get_running_loop().time()
                try:
                    record = await store.get(task_id, caller)
                    if record.is_final or left <= 0:
                        return record
                except StoreUnavailable:
                    if left <= 0:
                        raise
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left, LOOK_EVERY_S)):
                        await change.wait()

    async def _subscribe(self, channels: Iterable[str]) -> None:
        if self._pubsub is not None:
            with contextlib.suppress(RedisError, OSError):  # the listener connects again and subscribes to all
                await self._pubsub.subscribe(*channels)

    async def _unsubscribe(self, channel: str) -> None:
        if self._pubsub is not None:
            with contextlib.suppress(RedisError, OSError):
                await self._pubsub.unsubscribe(channel)

    async def _listen(self) -> None:
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                    # a channel of its own keeps the subscription open while nobody waits
                    await pubsub.subscribe(self._keys.watch())
                    self._away = False
                    self._pubsub = pubsub  # from here on a new follower subscribes by itself
                    if self._changes:
                        await pubsub.subscribe(*self._changes)
                    for changes in self._changes.values():  # what was announced while we were away
                        _wake(changes)
                    async for message in pubsub.listen():
                        _wake(self._changes.get(message["channel"], ()))
            except (RedisError, OSError) as error:
                if not self._away:  # once an outage, not at each try
                    log.warning("watch_lost", extra={"error": error})
                self._away = True
            finally:
                self._pubsub = None
            await asyncio.sleep(RECONNECT_AFTER_S)


def _wake(changes: Iterable[asyncio.Event]) -> None:
    for change in changes:
        change.set()
