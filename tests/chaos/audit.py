"""Audits the store all through a run, past all proxies: every live task in exactly the one index of its status."""

import asyncio
import time
from typing import Final

from redis.exceptions import RedisError

from taskstore.errors import StoreError
from tests.chaos.stalls import STALL_S
from tests.chaos.system import System

_LEAST_PAUSE_S: Final = 1.0
_SHARE: Final = 20
"""An audit reads everything, and Redis does nothing else meanwhile: the pause is so many times as long."""
_LAST_TRIES: Final = 20


class Auditor:
    def __init__(self, system: System, redis_url: str) -> None:
        self._system, self._redis_url = system, redis_url
        self.audits: int | None = 0
        self.findings: list[str] = []
        self.held: list[tuple[float, float]] = []
        """Beginning and end, time.time(), of audits that kept Redis from all else for as long as a stall."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._all_along())

    async def stop(self) -> None:
        """After a last audit."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            for _ in range(_LAST_TRIES):
                if await self._once():
                    return
                await asyncio.sleep(_LEAST_PAUSE_S)

    async def _all_along(self) -> None:
        while self.audits is not None:
            began = time.monotonic()
            await self._once()
            await asyncio.sleep(max(_LEAST_PAUSE_S, _SHARE * (time.monotonic() - began)))

    async def _once(self) -> bool:
        began = time.time()
        try:
            found = await self._system.audit(self._redis_url)
        except (OSError, RedisError, StoreError):  # it was struck, or is still loading
            return False
        finally:
            if (ended := time.time()) - began > STALL_S:
                self.held.append((began, ended))
        if found is None:
            self.audits = None
            return True
        assert self.audits is not None
        self.audits += 1
        self.findings += [f"{time.time():.3f} {one}" for one in found]
        return True
