"""Runs a module of the project as a test's process: it reads no `.env`, and ends with the process that started it.

    python -m longhaul_testing.process PARENT_PID MODULE [ARGUMENTS]

However the parent ends, also by SIGKILL, on every system: no test leaves a process behind.
"""

import os
import runpy
import signal
import sys
import threading
import time
from pathlib import Path

import core_config

_LOOK_SECONDS = 0.2
_GRACE_SECONDS = 3.0  # to end what it has started itself


def command(module: str, *arguments: str, parent: int | None = None) -> list[str]:
    """What to start; `parent` is this process unless given."""
    return [sys.executable, "-m", __name__, str(parent or os.getpid()), module, *arguments]


def read_no_env_file() -> None:
    """A developer's own keys and addresses have no place in a test."""
    core_config.Settings.model_config["env_file"] = None
    core_config.ENV_FILE = Path(os.devnull)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    for _ in range(2):  # the second one waits for nothing
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_LOOK_SECONDS)
    time.sleep(_GRACE_SECONDS)
    os._exit(1)


def main() -> None:
    parent, module = int(sys.argv[1]), sys.argv[2]
    sys.argv[:3] = [module]
    read_no_env_file()
    threading.Thread(target=_end_with, args=(parent,), name="end with the parent", daemon=True).start()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
