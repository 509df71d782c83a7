"""The logs under `VAR_DIR/logs`: one file a process, as the process wrote it, appended to and rotated."""

import asyncio
import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

MAX_BYTES = 10_000_000
KEPT = 5  # rotated files beside the current one, so a process fills 60 MB at most

_LONGEST_LINE = 1_000_000


def directory(var_dir: Path) -> Path:
    return var_dir / "logs"


class LogFile(RotatingFileHandler):
    """One process's log. A log that cannot be written (a full disk) never stops the process that writes it."""

    def __init__(self, var_dir: Path, name: str) -> None:
        path = directory(var_dir) / f"{name}.log"
        super().__init__(path, maxBytes=MAX_BYTES, backupCount=KEPT, encoding="utf-8", errors="replace", delay=True)

    def line(self, text: str) -> None:
        self.emit(logging.makeLogRecord({"msg": text}))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 the name is logging's
        """Drops the line: blocking or raising here would stop the process behind the pipe."""


class Pump(asyncio.Protocol):
    """Carries what a process writes into its log, line by line."""

    def __init__(self, log: LogFile) -> None:
        self._log = log
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._log.line(line.decode(errors="replace"))
        if len(self._rest) > _LONGEST_LINE:
            self.eof_received()

    def eof_received(self) -> None:
        if self._rest:
            self._log.line(self._rest.decode(errors="replace"))
            self._rest = b""


def ending(var_dir: Path, name: str, count: int = 12) -> str:
    """How a process's log ends, as the rest of a message about its failure."""
    lines = tail(directory(var_dir) / f"{name}.log", count)
    return "Its log is empty." if not lines else "\n  ".join(["Its log ends with:", *lines])


def rotated(path: Path) -> list[Path]:
    """The older parts of a log, the newest first."""
    parts = [path.with_name(f"{path.name}.{number}") for number in range(1, KEPT + 1)]
    return [part for part in parts if part.exists()]


def tail(path: Path, count: int) -> list[str]:
    """The last `count` lines of a log, from its rotated predecessor too when the file is short."""
    lines: list[str] = []
    for part in (path, path.with_name(path.name + ".1")):
        if len(lines) < count and part.exists():
            with part.open("rb") as file:
                file.seek(max(0, part.stat().st_size - count * 2000))
                lines = file.read().decode(errors="replace").splitlines() + lines
    return lines[-count:]
