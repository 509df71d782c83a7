"""Keeps the leases: a thread of its own renews them every third of a lease, however busy the event loop is.

A heartbeat on a busy loop starves, and its tasks run twice; one that never stops would keep the tasks of a hung worker
for ever. So the thread renews only while the loop has moved within LOOP_STALL_SECONDS. And it tells the worker to end
its runs when no renewal was accepted for a whole lease, by the monotonic clock: another worker may have them by then.
Not so while Redis answers that it takes no writes, or is loading: then no other worker's claim is accepted either, and
its first sweep afterwards gives every lease a full term.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable

from core_config import Settings
from monitoring import redis_calls
from taskstore.connection import connect
from taskstore.errors import StorageFull, StoreLoading, StoreUnavailable
from taskstore.records import WorkerInfo
from taskstore.store import TaskStore

from .attempt import Stop
from .outage import Outage
from .role import OwnThread

TICK_S = 0.25

log = logging.getLogger(__name__)


class Keeper(OwnThread):
    """`hold` and `drop` tasks from the event loop's thread; `on_stop(task id, fence, why)` is called there too."""

    def __init__(
        self, settings: Settings, worker: WorkerInfo, on_stop: Callable[[str, int, Stop], None], outage: Outage
    ) -> None:
        super().__init__()
        self._settings = settings
        self._worker = worker
        self._on_stop = on_stop
        self._outage = outage
        self._every_s = settings.lease_seconds / 3
        self._held: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()
        self._ticked = time.monotonic()
        self._ticker: asyncio.Task[None] | None = None
        self._agents_loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        if self._ticker is None:
            self._agents_loop = asyncio.get_running_loop()
            self._ticker = asyncio.create_task(self._tick(), name="ticker")
        await super().start()

    async def stop(self) -> None:
        await super().stop()
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
            self._ticker = None

    def hold(self, task_id: str, fence: int) -> None:
        """From now on the task's lease is renewed; its claim, just made, gave it the first."""
        with self._lock:
            self._held[task_id] = (fence, time.monotonic())

    def drop(self, task_id: str, fence: int) -> None:
        with self._lock:
            if self._held.get(task_id, (0, 0.0))[0] == fence:
                del self._held[task_id]

    async def _tick(self) -> None:
        while True:
            self._ticked = time.monotonic()
            self._fence_self()
            await asyncio.sleep(TICK_S)

    async def _loop(self) -> None:
        async with connect(self._settings.redis_address) as redis:
            store = TaskStore(redis, self._settings, redis_calls.observe)
            while True:
                began = time.monotonic()
                await self._renew(store)
                left_s = self._every_s - (time.monotonic() - began)
                await asyncio.sleep(max(left_s, 0.01))

    async def _renew(self, store: TaskStore) -> None:
        stalled_s = time.monotonic() - self._ticked
        if stalled_s > self._settings.loop_stall_seconds:
            log.error("loop_stalled", extra={"seconds": round(stalled_s, 1), "effect": "leases are not renewed"})
            return
        with self._lock:
            held = {task_id: fence for task_id, (fence, _) in self._held.items()}
        sent = time.monotonic()
        try:
            words = await store.renew(self._worker, held.items())
        except (StorageFull, StoreLoading) as error:
            # it answers that nobody can write: nobody has taken the tasks, and what they cost is not thrown away
            self._outage.goes_on(error, "renewing")
            for task_id, fence in held.items():
                self._keep(task_id, fence, sent)
            return
        except StoreUnavailable as error:
            self._outage.goes_on(error, "renewing")
            return
        except Exception:
            log.exception("renew_failed")
            return
        for task_id, word in words.items():
            fence = held[task_id]
            if word == "lost":
                self._tell(task_id, fence, Stop.LOST)
                continue
            self._keep(task_id, fence, sent)
            if word == "cancel":
                self._tell(task_id, fence, Stop.CANCEL)

    def _keep(self, task_id: str, fence: int, since: float) -> None:
        with self._lock:
            if self._held.get(task_id, (0, 0.0))[0] == fence:
                self._held[task_id] = (fence, since)

    def _fence_self(self) -> None:
        """Tasks whose last accepted renewal is a lease ago may be running elsewhere by now."""
        now = time.monotonic()
        with self._lock:
            late = [
                (task_id, fence)
                for task_id, (fence, renewed) in self._held.items()
                if now - renewed > self._settings.lease_seconds
            ]
        for task_id, fence in late:
            self._on_stop(task_id, fence, Stop.LOST)

    def _tell(self, task_id: str, fence: int, why: Stop) -> None:
        if self._agents_loop is not None and not self._agents_loop.is_closed():
            self._agents_loop.call_soon_threadsafe(self._on_stop, task_id, fence, why)
