"""A background duty of the worker: `start`, `stop`, and the one coroutine `_loop` that it runs between them."""

import asyncio
import contextlib
import logging
import threading
from abc import ABC, abstractmethod

log = logging.getLogger(__name__)


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


class OwnThread(ABC):
    """A duty that agents must not hold up: its `_loop` runs in a thread and an event loop of its own, however busy
    theirs is. It makes its own connections there; what it calls in the worker goes through `call_soon_threadsafe`.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._own_loop: asyncio.AbstractEventLoop
        self._duty: asyncio.Task[None]

    async def start(self) -> None:
        """Starting twice is harmless."""
        if self._thread is None:
            self._own_loop = asyncio.new_event_loop()
            self._duty = self._own_loop.create_task(self._loop())
            # a daemon: a thread that waits for Redis must not hold up an exit
            self._thread = threading.Thread(target=self._run, name=type(self).__name__.lower(), daemon=True)
            self._thread.start()

    async def stop(self) -> None:
        """Stopping twice is harmless."""
        if self._thread is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._own_loop.call_soon_threadsafe(self._duty.cancel)
            await asyncio.to_thread(self._thread.join, 5)
            self._thread = None

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._own_loop) as runner, contextlib.suppress(asyncio.CancelledError):
            try:
                runner.get_loop().run_until_complete(self._duty)
            except Exception:
                log.exception("duty_failed", extra={"duty": type(self).__name__})

    @abstractmethod
    async def _loop(self) -> None: ...
