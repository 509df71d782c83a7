"""The file that agents and tools under test append to: what was really done, by whom and when.

It depends on nothing that the system under test says of itself. A line is one write to a file opened for appending, so
processes that die leave whole lines.
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

VARIABLE: Final = "CHAOS_WITNESS"
"""Environment variable of a worker that names the file."""

What = Literal["ask", "begin", "done", "poison"]


@dataclass(frozen=True, slots=True)
class Line:
    what: What
    """`ask`: a model call begins; `begin`, `done`: of a tool that may not run twice; `poison`: the process will end."""
    key: str
    """Of the client's task."""
    pid: int
    at: float
    """time.time() of the machine, which all processes share."""


def write(what: What, key: str) -> None:
    """Appends a line to the file that the environment names. Raises KeyError without one."""
    line = json.dumps([what, key, os.getpid(), time.time()]) + "\n"
    out = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(out, line.encode())
    finally:
        os.close(out)


class Reader:
    """Reads what was added since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new(self) -> Iterator[Line]:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for raw in file:
                if not raw.endswith(b"\n"):
                    return
                self._offset += len(raw)
                yield Line(*json.loads(raw))
