"""Ends what a test run leaves behind when it is broken off: whole systems with their supervisors, by process id.

Everything that a run starts inherits a marker in its environment. A parent's end or a process group would not do: a
supervisor is made to outlive both.
"""

import os
import time
from collections.abc import Iterator, Mapping

import psutil

VARIABLE = "LONGHAUL_TEST_RUN"
"""The runs that a process belongs to, joined by colons: the tests of the test command start test runs themselves."""

_LOOK_SECONDS = 0.1


def marked(environment: Mapping[str, str], run: str) -> dict[str, str]:
    """The environment of what `run`, an id of one's own choice, starts."""
    return {**environment, VARIABLE: ":".join(filter(None, (environment.get(VARIABLE), run)))}


def end(run: str, within_s: float = 10) -> list[str]:
    """Kills every process of this run, and returns what they were. Looks again until none is left: a supervisor may
    just then have started another.
    """
    ended: dict[int, str] = {}
    until = time.monotonic() + within_s
    while (found := list(_processes(run))) and time.monotonic() < until:
        for process, command in found:
            ended[process.pid] = command
            try:
                process.kill()  # asks whether the pid is still that process's
            except psutil.Error:
                continue
        time.sleep(_LOOK_SECONDS)
    return [f"{pid} {command}" for pid, command in ended.items()]


def _processes(run: str) -> Iterator[tuple[psutil.Process, str]]:
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or run not in process.environ().get(VARIABLE, "").split(":"):
                continue
            yield process, " ".join(process.cmdline())
        except (psutil.Error, OSError):  # it has ended, or is another user's
            continue
