"""A background duty of the worker: `start`, `stop`, and the one coroutine `_loop` that it runs between them."""

import asyncio
import contextlib
from abc import ABC, abstractmethod


class Role(ABC):
    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Starting twice is harmless."""
        if self._task is None:
            self._task = asyncio.create_task(self._loop(), name=type(self).__name__)

    async def stop(self) -> None:
        """Stopping twice is harmless."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    @abstractmethod
    async def _loop(self) -> None: ...
