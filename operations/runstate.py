"""`VAR_DIR/run.json`: what the supervisor runs, and whether a process in it is still the one that was started.

A pid alone proves nothing: after a power cut it may be another program's. A process is ours when it was created at the
time on record, or, should the machine's clock have been set meanwhile, when its environment holds our run's token.
"""

import contextlib
import dataclasses
import json
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import psutil

TOKEN_VARIABLE = "LONGHAUL_RUN"  # noqa: S105 the name of a variable, and the token in it is no secret

Phase = Literal["starting", "running", "stopping", "failed"]

_CLOCK_SECONDS = 2.0  # psutil derives creation times from the boot time, which NTP nudges


@dataclasses.dataclass(frozen=True)
class ProcessRecord:
    """A process of ours. `created` is in seconds since the epoch; `restarts` counts its deaths; `ended` is the last."""

    name: str
    role: str
    pid: int
    created: float
    restarts: int = 0
    ended: str = ""
    retiring: bool = False


@dataclasses.dataclass(frozen=True)
class RunState:
    """What one supervisor runs. `redis_url` shows no password; `redis_source` is a hash of the REDIS_URL in use.

    `reload`: workers follow the agents' code; `reload_failure` is why the last change of it was not taken over.
    """

    token: str
    supervisor: ProcessRecord
    phase: Phase
    failure: str = ""
    gateway_url: str = ""
    redis_url: str = ""
    redis_source: str | None = None
    simulator_port: int | None = None
    workers_metrics_url: str = ""
    model: str = ""
    reload: bool = False
    reload_failure: str = ""
    stop_seconds: float = 120.0
    processes: tuple[ProcessRecord, ...] = ()

    @property
    def redis_is_private(self) -> bool:
        return self.redis_source is None


def write(var_dir: Path, state: RunState) -> None:
    """Replaces the file in one step. Raises OSError, such as for a full disk."""
    partial = var_dir / "run.json.partial"
    partial.write_text(json.dumps(dataclasses.asdict(state), indent=1) + "\n")
    partial.replace(var_dir / "run.json")


def read(var_dir: Path) -> RunState | None:
    """The state on record, or None when there is none that can be read: a power cut may have cut it short."""
    try:
        stored: dict[str, Any] = json.loads((var_dir / "run.json").read_text())
        processes = tuple(ProcessRecord(**record) for record in stored.pop("processes"))
        return RunState(supervisor=ProcessRecord(**stored.pop("supervisor")), processes=processes, **stored)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def running(var_dir: Path) -> RunState | None:
    """The state of a supervisor that is alive, or None."""
    state = read(var_dir)
    return state if state and is_ours(state.supervisor, state.token) else None


def forget(var_dir: Path) -> None:
    for name in ("run.json", "run.json.partial", "control.sock"):
        (var_dir / name).unlink(missing_ok=True)


def of_process(name: str, role: str, pid: int) -> ProcessRecord:
    """A record of a process that was just started. A process that has ended already gets the time 0."""
    try:
        return ProcessRecord(name, role, pid, psutil.Process(pid).create_time())
    except psutil.Error:
        return ProcessRecord(name, role, pid, 0.0)


def is_ours(record: ProcessRecord, token: str) -> bool:
    try:
        process = psutil.Process(record.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if abs(process.create_time() - record.created) < _CLOCK_SECONDS:
            return True
        return process.environ().get(TOKEN_VARIABLE) == token
    except (psutil.Error, OSError):
        return False


def end_leftovers(state: RunState) -> list[str]:
    """Kills what a dead supervisor left running, and nothing else; returns the names."""
    left = [record for record in state.processes if is_ours(record, state.token)]
    for record in left:
        kill_group(record.pid)
    wait_gone(record.pid for record in left)
    return [record.name for record in left]


def kill_group(pid: int) -> None:
    """SIGKILL to the process and to whatever it started itself: each of ours leads a process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def wait_gone(pids: Iterable[int], seconds: float = 10) -> bool:
    """Whether all `pids` ended within `seconds`. One that nobody has waited for yet has ended too."""
    left, deadline = set(pids), time.monotonic() + seconds
    while left and time.monotonic() < deadline:
        left = {pid for pid in left if not has_ended(pid)}
        time.sleep(0.02)
    return not left


def has_ended(pid: int) -> bool:
    try:
        status: str = psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return True
    return status == psutil.STATUS_ZOMBIE
