"""Sweeps the store twice a second. Every worker does, so there is no leader to lose."""

import asyncio
import logging

from taskstore.errors import StoreUnavailable
from taskstore.store import SWEEP_LIMIT, TaskStore

from .outage import Outage
from .role import Role

EVERY_S = 0.5

log = logging.getLogger(__name__)


class Reaper(Role):
    def __init__(self, store: TaskStore, outage: Outage) -> None:
        super().__init__()
        self._store = store
        self._outage = outage

    async def _loop(self) -> None:
        while True:
            counts: dict[str, int] = {}
            try:
                counts = await self._store.sweep()
            except StoreUnavailable as error:
                self._outage.goes_on(error, "sweeping")
            except Exception:
                log.exception("sweep_failed")
            else:
                self._outage.is_over()
                found = {name: count for name, count in sorted(counts.items()) if count and name != "forgotten"}
                if found:
                    log.warning("swept", extra=found)
            # a sweep takes a bounded number of each kind: while there is as much as that, there may be more
            await asyncio.sleep(0 if SWEEP_LIMIT in counts.values() else EVERY_S)
