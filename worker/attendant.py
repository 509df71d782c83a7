"""Sees to quarantined tasks: starts a process for them when the store asks, waits for its end, and reports that.

A task that has taken workers down may do so again, so it runs alone, in a quarantine worker (quarantine.py): its next
crash costs itself and no neighbour. That process has a session of its own: whoever ends what is left of this worker's
process group must not end, and charge, a task that had no part in its death. Without this worker it drains and leaves.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import time
from asyncio.subprocess import DEVNULL, Process, create_subprocess_exec
from collections.abc import Sequence

from taskstore.errors import StoreUnavailable
from taskstore.store import TaskStore

from .outage import Outage

LOOK_EVERY_S = 5.0
LOOKS_TO_START = 24
"""Without a sign of life before its first; loading the LLM libraries takes seconds, on a busy machine many."""
LOOKS_UNSEEN = 4
"""Without one afterwards: it hangs, so that not even its thread renews, and its task is others' by now."""
HEALTHY_S = 10.0
LONGEST_WAIT_S = 30.0
GRACE_S = 3.5
"""Beyond the drain, before it is killed: to release what runs, and within what a supervisor grants this worker."""
REPORT_AGAIN_S = (0.5, 1.0, 2.0, 4.0)

log = logging.getLogger(__name__)


def wait_before_next(quick_ends: int) -> float:
    """Seconds before another one after so many quick ends in a row: 0, 0.5, 1, 2, … 30, 30."""
    return 0.0 if quick_ends <= 1 else min(LONGEST_WAIT_S, 0.5 * 2.0 ** min(quick_ends - 2, 10))


class Attendant:
    """Of one worker: at most one quarantine worker at a time. `attend`, `drain` and `stop` may come in any order."""

    def __init__(
        self, command: Sequence[str], worker_id: str, store: TaskStore, drain_seconds: float, outage: Outage
    ) -> None:
        """`command` starts a worker; it gets `--id` and `--quarantine` besides. Empty: this worker attends to none."""
        self._command = command
        self._worker_id = worker_id
        self._store = store
        self._drain_seconds = drain_seconds
        self._outage = outage
        self._task: asyncio.Task[None] | None = None
        self._process: Process | None = None
        self._quick_ends = 0
        self._not_before = 0.0
        self._kill_at: float | None = None

    @property
    def is_free(self) -> bool:
        """Whether it would start one now."""
        return bool(self._command) and not self._is_busy and not self._stopping and time.monotonic() >= self._not_before

    def attend(self) -> None:
        if self.is_free:
            self._task = asyncio.create_task(self._see_to_it(), name="attendant")

    def drain(self) -> None:
        """Passes a SIGTERM on: the first drains, a second one releases at once."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + self._drain_seconds + GRACE_S
        self._signal(signal.SIGTERM)

    async def stop(self) -> None:
        """Ends with the process, which is killed when it outstays the drain."""
        if self._kill_at is None:
            self.drain()
        if self._task is None or self._kill_at is None:
            return
        await asyncio.wait({self._task}, timeout=max(0.0, self._kill_at - time.monotonic()))
        if not self._task.done():
            self._signal(signal.SIGKILL)
            await asyncio.wait({self._task}, timeout=1)
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @property
    def _is_busy(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def _stopping(self) -> bool:
        return self._kill_at is not None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _see_to_it(self) -> None:
        name = f"{self._worker_id}-q{secrets.token_hex(3)}"
        began = time.monotonic()
        try:
            await self._run(name)
            await self._report(name)
        except OSError as error:  # no memory, no process left
            log.error("quarantine_not_started", extra={"problem": error})  # noqa: TRY400  the system's word says all
        except Exception:
            log.exception("quarantine_broke", extra={"worker": name})
        finally:
            self._signal(signal.SIGKILL)  # should it run on although nobody waits for it any more
            self._quick_ends = 0 if time.monotonic() - began >= HEALTHY_S else self._quick_ends + 1
            self._not_before = time.monotonic() + wait_before_next(self._quick_ends)

    async def _run(self, name: str) -> None:
        self._process = await create_subprocess_exec(
            *self._command, "--id", name, "--quarantine", self._worker_id, str(os.getpid()),
            stdin=DEVNULL, start_new_session=True,
        )  # fmt: skip
        log.info("quarantine_started", extra={"worker": name, "quarantine_pid": self._process.pid})
        if self._stopping:  # it was told while nobody was there to be told
            self._signal(signal.SIGTERM)
        code = await self._until_its_end(self._process, name)
        ended = f"signal {-code}" if code < 0 else f"exit code {code}"
        log.log(logging.WARNING if code else logging.INFO, "quarantine_ended", extra={"worker": name, "cause": ended})

    async def _until_its_end(self, process: Process, name: str) -> int:
        """Its exit code, less than 0 for a signal. A process that hangs would keep the lane for good: it is killed."""
        looks_left = LOOKS_TO_START
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    return await process.wait()
            with contextlib.suppress(StoreUnavailable):  # without Redis nobody is seen
                workers = (await self._store.overview()).workers
                seen = any(worker.id == name for worker in workers)
                looks_left = LOOKS_UNSEEN if seen else looks_left - 1
            if looks_left <= 0:
                log.error("quarantine_hangs", extra={"worker": name, "effect": "it is killed"})
                self._signal(signal.SIGKILL)

    async def _report(self, name: str) -> None:
        """Its task is charged and goes on now, not when the lease ends. Gives up in the end: then it does end."""
        for again_s in (*REPORT_AGAIN_S, None):
            try:
                await self._store.sweep(dead=name)
            except StoreUnavailable as error:
                self._outage.goes_on(error, "reporting a death")
            else:
                return
            if again_s is not None:
                await asyncio.sleep(again_s)
