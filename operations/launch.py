"""Starting the supervisor, and ending it: what `start`, `stop` and `restart` share."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from core_config import ROOT
from operations import logfiles, runstate
from operations.errors import CommandError

_BEYOND_SECONDS = 10.0  # what stopping may take beyond every process's own limit


def supervisor(var_dir: Path, *, reload: bool) -> "subprocess.Popen[bytes]":
    """A supervisor in a session of its own, so that it outlives this terminal. CommandError: VAR_DIR is not usable."""
    try:
        logfiles.directory(var_dir).mkdir(parents=True, exist_ok=True)
        output = (logfiles.directory(var_dir) / "supervisor.log").open("ab")
    except OSError as error:
        raise CommandError(f"cannot write to VAR_DIR={var_dir}: {error.strerror}. Mend that or set VAR_DIR.") from None
    environment = {**os.environ, runstate.TOKEN_VARIABLE: secrets.token_hex(8)}
    with output:
        return subprocess.Popen(
            [sys.executable, "-m", "operations.supervisor", *(["--reload"] if reload else [])],
            cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip


def stop(var_dir: Path, say: Callable[[str], None], *, now: bool = False) -> bool:
    """Ends what runs in `var_dir`: False when nothing did. `now` skips the drain.

    What does not end within its own limits is killed. CommandError when that cannot be done.
    """
    state = runstate.running(var_dir)
    if state is None:
        left = runstate.read(var_dir)
        ended = runstate.end_leftovers(left) if left else []
        runstate.forget(var_dir)
        if ended:
            say(f"A killed supervisor had left {', '.join(ended)} running; ended.")
        return bool(ended)
    process = psutil.Process(state.supervisor.pid)
    deadline = time.monotonic() + state.stop_seconds + _BEYOND_SECONDS
    try:
        process.send_signal(signal.SIGTERM)
        told: set[str] = set()
        while time.monotonic() < deadline:
            if now:
                process.send_signal(signal.SIGTERM)
                now = False
            if not runstate.is_ours(state.supervisor, state.token):
                return True
            _tell_waiting(var_dir, told, say)
            time.sleep(0.1)
        say("The supervisor does not end; killing it.")
        process.kill()
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        raise CommandError(f"process {process.pid} belongs to another user. Stop it as that user.") from None
    runstate.wait_gone([process.pid])
    left = runstate.read(var_dir)
    if left:
        runstate.end_leftovers(left)
    runstate.forget(var_dir)
    return True


def _tell_waiting(var_dir: Path, told: set[str], say: Callable[[str], None]) -> None:
    """Says once, for each process that is still finishing its work, that it is waited for."""
    state = runstate.read(var_dir)
    for record in state.processes if state and state.phase == "stopping" else ():
        if record.retiring and record.name not in told:
            told.add(record.name)
            say(f"  stopping {record.name} ...")
