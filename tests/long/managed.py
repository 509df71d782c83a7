"""Longhaul under `manage.py`, as the long tests see it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from operations import runstate
from tests.system.conftest import System

from .running import AGENTS_FILE, Running

WORKERS = 2


@contextmanager
def managed(folder: Path) -> Iterator[tuple[System, Running]]:
    """A copy of the project, started, with two workers and the counting agent; all else as shipped."""
    folder.mkdir()
    system = System(folder, WORKER_PROCESSES=str(WORKERS), AGENTS_FILE=str(AGENTS_FILE))
    try:
        system.start()
        seen = Running(system.url, state(system).redis_url, folder)
        yield system, seen
        seen.close()
    finally:
        system.end()


def state(system: System) -> runstate.RunState:
    found = runstate.read(system.folder / "var")
    assert found is not None
    return found


def worker_pids(system: System) -> set[int]:
    """Of those that are there to stay."""
    return {record.pid for record in state(system).processes if record.role == "worker" and not record.retiring}
