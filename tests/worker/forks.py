"""Scripted workers forked from one process that has imported what they need: each has the second that it would take.

What is forked is a process of its own like any other: its own pid, signals, exit code and log.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from core_config import ROOT

_FORKS = multiprocessing.get_context("forkserver")
_MODULE = "tests.worker.scripted"


class Forked:
    """What a test does with a `subprocess.Popen`."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        _FORKS.set_forkserver_preload([_MODULE])
        self._process = _FORKS.Process(target=_run, args=(list(arguments), dict(environment), str(log)))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """As Popen's: below 0 for the signal that ended it."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(_MODULE, timeout or 0)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run(arguments: list[str], environment: dict[str, str], log: str) -> None:
    """In the fork: becomes `python -m tests.worker.scripted ARGUMENTS`, which writes to `log`."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(descriptor, stream.fileno())
    os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.argv = [_MODULE, *arguments]
    from tests.worker import scripted  # noqa: PLC0415  as the fork has it, and not the process that asks for one

    scripted.main()
