"""The last lines of every process's log, in the order of their times; with -f, what comes after them, until Ctrl-C.

NAME is a process such as worker-1, or the beginning of several, such as worker.
"""

import argparse
import contextlib
import os
import re
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from operations import configuration, logfiles
from operations.errors import CommandError

_LOOK_SECONDS = 0.2

# Our own lines start with an ISO time; Redis writes `1234:M 21 Nov 2026 09:41:46.123 * ...` in local time.
_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,6})?(?:Z|[+-]\d\d:?\d\d)?")
_REDIS = re.compile(r"^\d+:[A-Z] (\d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3})")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these processes")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is written from now on")
    parser.add_argument("-n", "--lines", type=int, default=50, metavar="N", help="how many lines to begin with (50)")


def run(arguments: argparse.Namespace) -> int:
    folder = logfiles.directory(configuration.var_dir())
    if not _logs(folder, arguments.names) and not arguments.follow:
        known = ", ".join(sorted(path.stem for path in folder.glob("*.log")))
        raise CommandError(
            f"no log of {' '.join(arguments.names)}. There are: {known}."
            if known
            else f"there are no logs in {folder}: nothing was started yet. Start it: python3 manage.py start."
        )
    followed = {path: _Followed(path) for path in _logs(folder, arguments.names)}  # opened first: no line falls between
    for name, line in _last_lines(_logs(folder, arguments.names), arguments.lines):
        _show(name, line)
    if arguments.follow:
        with contextlib.suppress(KeyboardInterrupt):
            _follow(folder, arguments.names, followed)
    return 0


def moment(line: str) -> float | None:
    """When a log line was written, in seconds since the epoch; None when it does not say."""
    try:
        if found := _ISO.search(line[:200]):
            return datetime.fromisoformat(found[0].replace(",", ".")).timestamp()
        if found := _REDIS.match(line):
            return datetime.strptime(found[1], "%d %b %Y %H:%M:%S.%f").astimezone().timestamp()
    except ValueError:
        pass
    return None


def _logs(folder: Path, names: list[str]) -> list[Path]:
    return [path for path in sorted(folder.glob("*.log")) if not names or path.stem.startswith(tuple(names))]


def _last_lines(paths: list[Path], count: int) -> list[tuple[str, str]]:
    lines = []
    for path in paths:
        at = 0.0
        for line in logfiles.tail(path, count):
            at = moment(line) or at  # a traceback's lines belong to the line above them
            lines.append((at, path.stem, line))
    lines.sort(key=lambda found: found[0])
    return [(name, line) for _, name, line in lines[-count:]]


class _Followed:
    """The end of one log, also across its rotation."""

    def __init__(self, path: Path, *, from_start: bool = False) -> None:
        self._path = path
        self._rest = b""
        self._file: BinaryIO | None = self._open()
        if self._file and not from_start:
            self._file.seek(0, os.SEEK_END)

    def lines(self) -> Iterator[str]:
        """What was written since the last call."""
        yield from self._read()
        with contextlib.suppress(FileNotFoundError):
            if self._file is None or self._path.stat().st_ino != os.fstat(self._file.fileno()).st_ino:
                yield from self._read()  # what came between the last read and the rotation
                if self._file:
                    self._file.close()
                self._file = self._open()
                yield from self._read()

    def _open(self) -> BinaryIO | None:
        with contextlib.suppress(FileNotFoundError):
            return self._path.open("rb")
        return None

    def _read(self) -> Iterator[str]:
        if self._file is None:
            return
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")


def _follow(folder: Path, names: list[str], followed: dict[Path, _Followed]) -> None:
    while True:
        for path in _logs(folder, names):
            if path not in followed:  # a process that was not there before
                followed[path] = _Followed(path, from_start=True)
            for line in followed[path].lines():
                _show(path.stem, line)
        time.sleep(_LOOK_SECONDS)


def _show(name: str, line: str) -> None:
    print(f"{name:<12} | {line}", flush=True)
