"""Sweeps the store twice a second, and when a lease ends. Every worker does, so there is no leader to lose; and in a
thread of its own: agents that keep the event loop busy don't hold up the rescue of another worker's tasks.
"""

import asyncio
import logging

from core_config import Settings
from monitoring import redis_calls
from taskstore.connection import connect
from taskstore.errors import StoreUnavailable
from taskstore.store import SWEEP_LIMIT, TaskStore

from .outage import Outage
from .role import OwnThread

EVERY_S = 0.5
JUST_AFTER_S = 0.005
"""After the end of a lease, so that the sweep that is made for it does not come a moment too early."""

log = logging.getLogger(__name__)


class Reaper(OwnThread):
    def __init__(self, settings: Settings, outage: Outage) -> None:
        super().__init__()
        self._settings = settings
        self._outage = outage

    async def _loop(self) -> None:
        async with connect(self._settings.redis_address) as redis:
            store = TaskStore(redis, self._settings, redis_calls.observe)
            while True:
                pause_s = await self._sweep(store)
                await asyncio.sleep(pause_s)

    async def _sweep(self, store: TaskStore) -> float:
        """Seconds until the next one."""
        try:
            counts, lease_ends_ms = await store.reap()
        except StoreUnavailable as error:
            self._outage.goes_on(error, "sweeping")
            return EVERY_S
        except Exception:
            log.exception("sweep_failed")
            return EVERY_S
        self._outage.is_over()
        found = {name: count for name, count in sorted(counts.items()) if count and name != "forgotten"}
        if found:
            log.warning("swept", extra=found)
        # a sweep takes a bounded number of each kind: while there is as much as that, there may be more
        if SWEEP_LIMIT in counts.values():
            return 0
        return EVERY_S if lease_ends_ms is None else min(EVERY_S, lease_ends_ms / 1000 + JUST_AFTER_S)
