"""The whole test command: format, lint, types, import contract, tests. All run; the summary says which failed.

The tests run in several processes, and the types are checked meanwhile. Anything that is given goes to pytest, which
then runs alone and in one process: `manage.py test -k cancel -x`; `-n 4` gives it four.

Of the whole run's tests, up to five that failed are run once more, alone. The last lines say which failed beside others
and how they went alone; the exit code is 0 only if all passed then. --no-second-try leaves that out.

With --long the tests of tests/long run, and nothing else: they count and measure for half an hour or more, one after
another, and print one table. A count that is wrong fails its test; a time beside its goal is only reported.
"""

import argparse
import contextlib
import importlib.util
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Self

from core_config import ROOT, keep_loopback_off_proxies
from operations import configuration, leftovers, second_try
from operations.environment import DEV_LOCK
from operations.errors import CommandError

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
_TESTS_FAILED = 1  # pytest's exit code of a run that came to its end; after others nobody knows what was not run
_SECONDS_TO_END = 60.0  # after Ctrl-C: the tests end what they have started


LONG_TESTS = "tests/long"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = f"{parser.prog} [--no-second-try] [--long [--report FILE]] [PYTEST OPTIONS AND TESTS]"
    parser.add_argument(
        "--no-second-try", action="store_true", help="what fails in the whole run has failed, also if it passes alone"
    )
    parser.add_argument("--long", action="store_true", help=f"the tests of {LONG_TESTS} alone, and what they measured")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="where --long writes its table (VAR_DIR/long-tests.md)"
    )


def run(arguments: argparse.Namespace) -> int:
    keep_loopback_off_proxies()
    if arguments.report and not arguments.long:
        raise CommandError("--report goes with --long.")
    if importlib.util.find_spec("xdist") is None:
        raise CommandError(f"the tools are not installed here: {sys.executable} -m pip install -r {DEV_LOCK.name}")
    with _nothing_left_behind() as run_id:
        if arguments.long:
            return _pytest_alone(_long(arguments), run_id)
        if arguments.extra:
            return _pytest_alone(arguments.extra, run_id)
        with tempfile.TemporaryDirectory() as folder:
            return _everything(run_id, Path(folder), again=not arguments.no_second_try)


def _everything(run_id: str, folder: Path, *, again: bool) -> int:
    results = []
    for name, command in QUICK:
        with Step(name, command, run_id) as step:
            step.wait()
        results.append(step)
    with tempfile.TemporaryFile() as said, Step("types", TYPES, run_id, output=said) as types:
        outcomes = folder / "outcomes"
        with Step("tests", (*TESTS, *in_parallel(), *second_try.recorded_in(outcomes)), run_id) as tests:
            tests.wait()
        types.wait()
        said.seek(0)
        print(f"\n== types said:\n{said.read().decode(errors='replace')}", end="")
    results += [types, tests]
    code = tests.code or 0
    last: list[str] = []
    if again and code == _TESTS_FAILED and (tried := second_try.due(outcomes)):
        alone = folder / "alone"
        with Step("second try", (*TESTS, *second_try.recorded_in(alone), *tried), run_id) as second:
            second.wait()
        results.append(second)
        all_passed, last = second_try.told(tried, alone)
        code = second.code if all_passed and second.code is not None else 1
    print("\n== summary")
    for step in results:
        print(f"  {'ok    ' if step.code == 0 else 'FAILED'} {step.name:<10} {step.seconds:6.1f} s")
    print(*last, sep="\n", end="\n" if last else "")
    return 1 if code or any(step.code for step in results if step.name not in {"tests", "second try"}) else 0


def _pytest_alone(options: list[str], run_id: str) -> int:
    with Step("", (*TESTS, *options), run_id) as tests:
        return tests.wait()


def _long(arguments: argparse.Namespace) -> list[str]:
    """pytest's options for the long tests: all of them, unless some are named."""
    report = arguments.report or configuration.load().var_dir / "long-tests.md"
    named = any(option.startswith(LONG_TESTS) for option in arguments.extra)
    return [*([] if named else [LONG_TESTS]), "-v", "--report", str(report.absolute()), *arguments.extra]


@contextlib.contextmanager
def _nothing_left_behind() -> Iterator[str]:
    """Yields an id for this run. At its end, also after Ctrl-C and SIGTERM, no process that it started goes on."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    run_id = secrets.token_hex(8)
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield run_id
    finally:
        signal.signal(signal.SIGTERM, before)
        for process in leftovers.end(run_id):
            print(f"manage.py test: ended what the tests left behind: {process}", file=sys.stderr)


def in_parallel() -> tuple[str, ...]:
    """pytest-xdist's options: one process more than cores, because tests also wait; tests/schedule.py has the order."""
    processes = min(_MOST_PROCESSES, (os.cpu_count() or 1) + 1)
    return ("-n", str(processes), "--dist", "loadscope", "--no-loadscope-reorder")


class Step:
    """One program of the test command, in a session of its own: a terminal's Ctrl-C comes to this process alone, which
    hands it on once. Two of them would make pytest leave its fixtures as they are.
    """

    def __init__(self, name: str, command: tuple[str, ...], run_id: str, output: Any = None) -> None:
        """A step without a name is not announced. `output` takes all that it says, else it goes to the terminal."""
        self.name = name
        self.code: int | None = None
        self.seconds = 0.0
        self._command = command
        self._run_id = run_id
        self._output = output

    def __enter__(self) -> Self:
        if self.name:
            print(f"== {self.name}: {' '.join(self._command)}", flush=True)
        self._begun = time.monotonic()
        errors = None if self._output is None else subprocess.STDOUT
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=leftovers.marked(_environment(), self._run_id),
            stdout=self._output,
            stderr=errors,
            start_new_session=True,
        )
        return self

    def wait(self) -> int:
        self.code = self._process.wait()
        self.seconds = time.monotonic() - self._begun
        return self.code

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
