"""What a process says of itself: its build, memory, processor time, and how late its event loop runs.

A thread looks, so that a loop which does not move at all still shows: how late it is by then counts.
"""

import asyncio
import contextlib
import logging
import platform
import threading
import time
from collections import deque
from typing import Literal

import psutil

from core_config import VERSION
from monitoring import metrics

log = logging.getLogger(__name__)

Role = Literal["gateway", "worker", "quarantine"]

TICK_S = 0.25
LOOK_EVERY_S = 2.0
LOOKS = 8
"""Over which the lag shown is the longest: a moment's is to be seen by who reads the page every fifteen seconds."""


class ProcessMetrics:
    """Of one process and one event loop. `start` and `stop` there; either twice is harmless."""

    def __init__(self, role: Role) -> None:
        self._memory = metrics.MEMORY.labels(role)
        self._cpu = metrics.CPU.labels(role)
        self._lag = metrics.LOOP_LAG.labels(role)
        self._process = psutil.Process()
        self._used_s = 0.0
        self._lags: deque[float] = deque(maxlen=LOOKS)
        self._longest_s = 0.0
        self._due = 0.0
        self._ticker: asyncio.Task[None] | None = None
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        if self._ticker is not None:
            return
        if metrics.UNSHARED_BECAUSE:
            effect = "this process counts for itself"
            log.warning("metrics_not_shared", extra={"cause": metrics.UNSHARED_BECAUSE, "effect": effect})
        metrics.BUILD.labels(VERSION, platform.python_version()).set(1)
        self._due = time.monotonic() + TICK_S
        self._ticker = asyncio.create_task(self._tick(), name="lag")
        self._look()
        self._thread = threading.Thread(target=self._look_again, name="process-metrics", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Counts the processor time since the last look too."""
        if self._ticker is None:
            return
        self._ticker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._ticker
        self._ticker = None
        self._ending.set()
        if self._thread is not None:
            self._thread.join(1)  # it only has to wake up

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            self._longest_s = max(self._longest_s, now - self._due)
            self._due = now + TICK_S

    def _look_again(self) -> None:
        while not self._ending.wait(LOOK_EVERY_S):
            self._look()
        self._look()

    def _look(self) -> None:
        self._memory.set(self._process.memory_info().rss)
        used_s = time.process_time()
        self._cpu.inc(used_s - self._used_s)
        self._used_s = used_s
        late_s, self._longest_s = max(self._longest_s, time.monotonic() - self._due, 0.0), 0.0
        self._lags.append(late_s)
        self._lag.set(max(self._lags))
