"""Sweeps the store twice a second. Every worker does, so there is no leader to lose."""

import asyncio
import logging

from taskstore.errors import StoreUnavailable
from taskstore.store import TaskStore

from .role import Role

EVERY_S = 0.5

log = logging.getLogger(__name__)


class Reaper(Role):
    def __init__(self, store: TaskStore) -> None:
        super().__init__()
        self._store = store

    async def _loop(self) -> None:
        while True:
            try:
                counts = await self._store.sweep()
            except StoreUnavailable as error:
                log.warning("sweep_waits", extra={"error": error})
            except Exception:
                log.exception("sweep_failed")
            else:
                found = {name: count for name, count in sorted(counts.items()) if count and name != "forgotten"}
                if found:
                    log.warning("swept", extra=found)
            await asyncio.sleep(EVERY_S)
