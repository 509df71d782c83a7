"""One supervised process: started, kept running, stopped."""

import asyncio
import contextlib
import ctypes
import dataclasses
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable

from core_config import ROOT
from operations import runstate
from operations.logfiles import LogFile, Pump
from operations.plan import ProcessSpec

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_LONGEST_WAIT_SECONDS = 5.0
_HEALTHY_SECONDS = 10.0  # a process that lived this long is started again at once

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def restart_delay(quick_deaths: int) -> float:
    """Seconds before the next start after so many deaths in a row: 0, 0.5, 1, 2, 4, 5, 5, ..."""
    return 0.0 if quick_deaths <= 1 else min(_LONGEST_WAIT_SECONDS, 0.5 * 2.0 ** min(quick_deaths - 2, 10))


class Child:
    """Keeps one process running until `stop`.

    `changed()` is called after every start and death, `died(identity)` after each death that nobody asked for; a
    worker's identity is the `--id` it was started with, new at each start.
    """

    def __init__(
        self, spec: ProcessSpec, logfile: LogFile, changed: Callable[[], None], died: Callable[[str], None]
    ) -> None:
        self.spec = spec
        self.identity = ""
        self.restarts = 0
        self.record: runstate.ProcessRecord | None = None
        self.retiring = False
        self._logfile = logfile
        self._changed = changed
        self._died = died
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.ended = ""

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def current_record(self) -> runstate.ProcessRecord | None:
        """What `run.json` says of it: None before the first start."""
        if self.record is None:
            return None
        return dataclasses.replace(self.record, restarts=self.restarts, ended=self.ended, retiring=self.retiring)

    async def start(self) -> None:
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.spec.name}")

    async def stop(self, hurry: asyncio.Event) -> None:
        """SIGTERM, then SIGKILL when `stop_seconds` are over or `hurry` is set. Stopping twice is harmless."""
        self._stopping.set()
        if self._keeper is None:
            return
        self._signal(signal.SIGTERM)
        hurried = asyncio.create_task(hurry.wait())
        done, _ = await asyncio.wait(
            {self._keeper, hurried}, timeout=self.spec.stop_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        hurried.cancel()
        if self._keeper not in done:
            log.warning("%s does not end; killing it", self.spec.name)
            self._signal(signal.SIGKILL)
        await asyncio.wait({self._keeper})  # awaited itself, it would be cancelled together with a restart

    async def _keep(self) -> None:
        quick_deaths = 0
        while True:
            lived = await self._until_death()
            if self._stopping.is_set():
                log.info("%s stopped (%s)", self.spec.name, self.ended)
                return
            quick_deaths = 1 if lived >= _HEALTHY_SECONDS else quick_deaths + 1
            delay = restart_delay(quick_deaths)
            self.restarts += 1
            log.error(
                "%s ended (%s) after %.1f s; starting it again in %.1f s", self.spec.name, self.ended, lived, delay
            )
            self._changed()
            self._died(self.identity)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
                return
            await self._spawn()
            if self._stopping.is_set():  # stop() found nobody to signal
                self._signal(signal.SIGTERM)

    async def _until_death(self) -> float:
        """Waits for the process and ends what it left behind; returns the seconds it lived."""
        begun = time.monotonic()
        if self._process is not None:
            code = await self._process.wait()
            self.ended = f"signal {-code}" if code < 0 else f"exit code {code}"
            runstate.kill_group(self._process.pid)
        return time.monotonic() - begun

    async def _spawn(self) -> None:
        command = list(self.spec.command)
        self.identity = f"{self.spec.name}-{secrets.token_hex(4)}"
        if self.spec.role == "worker":
            command += ["--id", self.identity]
        read_end, write_end = os.pipe()
        try:
            # A pipe of our own: asyncio's would make wait() depend on grandchildren that hold it open.
            reader = os.fdopen(read_end, "rb", buffering=0)
            await asyncio.get_running_loop().connect_read_pipe(lambda: Pump(self._logfile), reader)
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=write_end, stderr=write_end,
                env=self.spec.environment, cwd=ROOT, pass_fds=self.spec.inherits, start_new_session=True,
                preexec_fn=_die_with(os.getpid()),
            )  # fmt: skip
        except OSError as error:  # no such program, no memory, no process left: tried again like a quick death
            self._process, self.ended = None, str(error)
            log.error("%s cannot be started: %s", self.spec.name, error)  # noqa: TRY400 the sentence says all
        else:
            self.record = runstate.of_process(self.spec.name, self.spec.role, self._process.pid)
            log.info("%s started, pid %d", self.spec.name, self._process.pid)
        finally:
            os.close(write_end)
        self._changed()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


def _die_with(supervisor: int) -> Callable[[], None] | None:
    """On Linux: the kernel kills the process when the supervisor ends, however it ends.

    Elsewhere a killed supervisor leaves its processes to the next `start` or `stop`, which end them by `run.json`.
    """
    if _libc is None:
        return None

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:  # it ended between the fork and the line above
            os._exit(1)

    return prepare
