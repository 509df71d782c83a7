"""The whole test command: format, lint, types, import contract, tests. All run; the summary says which failed.

The tests run in several processes, and the types are checked meanwhile. Anything that is given goes to pytest, which
then runs alone and in one process: `manage.py test -k cancel -x`; `-n 4` gives it four.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from core_config import ROOT, keep_loopback_off_proxies

TAKES_EXTRA = True

_BIN = Path(sys.executable).parent

QUICK = (
    ("format", (str(_BIN / "ruff"), "format", "--check", ".")),
    ("lint", (str(_BIN / "ruff"), "check", ".")),
    ("imports", (str(_BIN / "lint-imports"),)),
)
TYPES = (sys.executable, "-m", "mypy")
TESTS = (sys.executable, "-m", "pytest")

_MOST_PROCESSES = 8
_SECONDS_TO_END = 60.0  # after Ctrl-C: the tests end what they have started


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = f"{parser.prog} [PYTEST OPTIONS AND TESTS]"


def run(arguments: argparse.Namespace) -> int:
    keep_loopback_off_proxies()
    if arguments.extra:
        return subprocess.call((*TESTS, *arguments.extra), cwd=ROOT, env=_environment())
    results = []
    for name, command in QUICK:
        with Step(name, command) as step:
            step.wait()
        results.append(step)
    with tempfile.TemporaryFile() as said, Step("types", TYPES, output=said) as types:
        with Step("tests", (*TESTS, *in_parallel())) as tests:
            tests.wait()
        types.wait()
        said.seek(0)
        print(f"\n== types said:\n{said.read().decode(errors='replace')}", end="")
    results += [types, tests]
    print("\n== summary")
    for step in results:
        print(f"  {'ok    ' if step.code == 0 else 'FAILED'} {step.name:<8} {step.seconds:6.1f} s")
    return 1 if any(step.code for step in results) else 0


def in_parallel() -> tuple[str, ...]:
    """pytest-xdist's options: one process more than cores, because tests also wait; tests/schedule.py has the order."""
    processes = min(_MOST_PROCESSES, (os.cpu_count() or 1) + 1)
    return ("-n", str(processes), "--dist", "loadscope", "--no-loadscope-reorder")


class Step:
    """One program of the test command, in a session of its own: a terminal's Ctrl-C comes to this process alone, which
    hands it on once. Two of them would make pytest leave its fixtures as they are.
    """

    def __init__(self, name: str, command: tuple[str, ...], output: Any = None) -> None:
        """`output` takes all that it says; without one it goes to the terminal."""
        self.name = name
        self.code: int | None = None
        self.seconds = 0.0
        self._command = command
        self._output = output

    def __enter__(self) -> Self:
        print(f"== {self.name}: {' '.join(self._command)}", flush=True)
        self._begun = time.monotonic()
        errors = None if self._output is None else subprocess.STDOUT
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, env=_environment(), stdout=self._output, stderr=errors, start_new_session=True
        )
        return self

    def wait(self) -> None:
        self.code = self._process.wait()
        self.seconds = time.monotonic() - self._begun

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_SECONDS_TO_END)
        finally:  # a second Ctrl-C doesn't wait
            self._process.kill()


def _environment() -> dict[str, str]:
    """Tools of this environment come first, also for tests that start programs by name."""
    return {**os.environ, "PATH": f"{_BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
