"""Hearing that a task changed: one subscription of a process serves everybody in it who waits or follows.

A published message is a hint, never the truth: it can be lost while the subscription is made or when Redis restarts. So
whoever hears is also told when the subscription begins, and begins again, and looks then. That is enough as long as a
dead connection is noticed: after a silence the server is asked for a sign of life.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from core_config import Settings

from .errors import StoreUnavailable
from .keys import Keys
from .records import TaskRecord
from .store import ANY_CALLER, TaskStore

LOOK_EVERY_S = 2.0
RECONNECT_AFTER_S = 0.5
SILENCE_S = 30.0
"""After so long without a message the server is asked whether it is there, and has SIGN_OF_LIFE_S to answer."""
SIGN_OF_LIFE_S = 10.0

BROKEN = (RedisError, OSError, RuntimeError, AttributeError)
"""What a connection that somebody else has just closed raises: uvloop says RuntimeError, and redis-py trips over the
writer that it no longer has.
"""

log = logging.getLogger(__name__)

OnChange = Callable[[], None]


class Watcher:
    """Hears the channels of the tasks that somebody in this process cares for. `start`, `stop`; both may repeat."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        """`redis` is a client made with `connect(url, blocking=True)`: its replies come when they come."""
        self._redis = redis
        self._keys = Keys(settings.key_prefix)
        self._changes: defaultdict[str, set[OnChange]] = defaultdict(set)
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

    async def hear(self, task_id: str, on_change: OnChange) -> None:
        """Calls `on_change` at each change of the task until `unhear`, and when that begins, which is at once or when
        Redis is back: of what changed before then nobody was told.
        """
        channel = self._keys.events(task_id)
        self._changes[channel].add(on_change)
        await self._subscribe([channel])

    async def unhear(self, task_id: str, on_change: OnChange) -> None:
        channel = self._keys.events(task_id)
        self._changes[channel].discard(on_change)
        if not self._changes[channel]:
            del self._changes[channel]
            await self._unsubscribe(channel)

    @contextlib.asynccontextmanager
    async def following(self, task_id: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set as `hear` tells; clear it before looking."""
        change = asyncio.Event()
        on_change = change.set
        try:
            await self.hear(task_id, on_change)
            yield change
        finally:
            await self.unhear(task_id, on_change)

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
                left = until - asyncio.get_running_loop().time()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left, LOOK_EVERY_S)):
                        await change.wait()
                change.clear()
                left = until - asyncio.get_running_loop().time()
                try:
                    record = await store.get(task_id, caller)
                    if record.is_final or left <= 0:
                        return record
                except StoreUnavailable:
                    if left <= 0:
                        raise

    async def _subscribe(self, channels: Iterable[str]) -> None:
        if self._pubsub is not None:
            with contextlib.suppress(*BROKEN):  # the listener connects again and subscribes to all
                await self._pubsub.subscribe(*channels)

    async def _unsubscribe(self, channel: str) -> None:
        if self._pubsub is not None:
            with contextlib.suppress(*BROKEN):
                await self._pubsub.unsubscribe(channel)

    async def _listen(self) -> None:
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    # a channel of its own keeps the subscription open while nobody waits
                    await pubsub.subscribe(self._keys.watch())
                    self._away = False
                    self._pubsub = pubsub  # from here on a new follower subscribes by itself
                    if self._changes:
                        await pubsub.subscribe(*self._changes)
                    await self._hear(pubsub)
            except BROKEN as error:
                if not self._away:  # once an outage, not at each try
                    log.warning("watch_lost", extra={"error": error})
                self._away = True
            finally:
                self._pubsub = None
            await asyncio.sleep(RECONNECT_AFTER_S)

    async def _hear(self, pubsub: PubSub) -> None:
        """Until the connection is lost, which it raises. A `subscribe` is Redis's word that it has begun."""
        asked = False
        while True:
            message = await pubsub.get_message(timeout=SIGN_OF_LIFE_S if asked else SILENCE_S)
            if message is not None:
                asked = False
                if message["type"] in {"message", "subscribe"}:
                    self._wake(message["channel"])
            elif asked:
                raise RedisConnectionError(f"no sign of life for {SILENCE_S + SIGN_OF_LIFE_S:.0f} s")
            else:
                await pubsub.ping()
                asked = True

    def _wake(self, channel: str) -> None:
        for on_change in tuple(self._changes.get(channel, ())):
            on_change()
