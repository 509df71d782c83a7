"""The whole test command: format, lint, types, import contract, tests. All run; the summary says which failed.

Anything that is given goes to pytest, which then runs alone: `manage.py test -k cancel -x`.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from core_config import ROOT, keep_loopback_off_proxies

TAKES_EXTRA = True

_BIN = Path(sys.executable).parent

STEPS = (
    ("format", (str(_BIN / "ruff"), "format", "--check", ".")),
    ("lint", (str(_BIN / "ruff"), "check", ".")),
    ("types", (sys.executable, "-m", "mypy")),
    ("imports", (str(_BIN / "lint-imports"),)),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = f"{parser.prog} [PYTEST OPTIONS AND TESTS]"


def run(arguments: argparse.Namespace) -> int:
    keep_loopback_off_proxies()
    pytest = (sys.executable, "-m", "pytest", *arguments.extra)
    steps = (("tests", pytest),) if arguments.extra else (*STEPS, ("tests", pytest))
    results = []
    for name, command in steps:
        print(f"== {name}: {' '.join(command)}", flush=True)
        begun = time.monotonic()
        code = subprocess.call(command, cwd=ROOT, env=_environment())
        results.append((name, code, time.monotonic() - begun))
    print("\n== summary")
    for name, code, seconds in results:
        print(f"  {'ok    ' if code == 0 else 'FAILED'} {name:<8} {seconds:6.1f} s")
    return 1 if any(code for _, code, _ in results) else 0


def _environment() -> dict[str, str]:
    """Tools of this environment come first, also for tests that start programs by name."""
    return {**os.environ, "PATH": f"{_BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
