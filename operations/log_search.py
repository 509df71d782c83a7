"""The lines about one task, one trace, or one request and the tasks that it named, in every process's log."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from operations import logfiles
from operations.errors import CommandError
from operations.followed_log import FollowedLog

_ID = re.compile(r"[0-9a-f]{32}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TASK_FIELD = re.compile(rb'(?: task=|"task": ")([0-9a-f]{32})')


class About:
    """Tells the lines that are looked for. Those of a task are told by its id wherever it stands, as in a traceback. A
    request's id is the client's and may be a word: it counts only where a line names it as such.
    """

    def __init__(self, kind: str, name: str) -> None:
        """`kind`: task, trace or request. CommandError when `name` can be none of these."""
        if kind == "request" and not _REQUEST_ID.fullmatch(name):
            raise CommandError(f"{name!r} is no request id: 1 to 64 of A-Z a-z 0-9 . _ -, as X-Request-Id has it.")
        if kind != "request" and not _ID.fullmatch(name):
            known = "POST /task answers it, and manage.py tasks lists them" if kind == "task" else "the lines name it"
            raise CommandError(f"{name!r} is no {kind} id, which is 32 of 0-9 and a-f; {known}.")
        self.kind, self.name = kind, name
        self.tasks: set[str] = {name} if kind == "task" else set()
        """Those that the lines so far are about."""
        self._ids = [name.encode()] if kind != "request" else []
        escaped = re.escape(name).encode()
        self._request = re.compile(rb'(?: request_id=%b(?= |$)|"request_id": "%b")' % (escaped, escaped))

    def __call__(self, line: bytes) -> bool:
        if any(one in line for one in self._ids):
            return True
        if self.kind == "request" and self._request.search(line):
            for task in _TASK_FIELD.findall(line):
                self.tasks.add(task.decode())
                self._ids.append(task)
            return True
        return False

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def found(followed: dict[Path, FollowedLog], about: About) -> list[tuple[str, str]]:
    """Process and line, in the order of the processes; of each process in the order in which it wrote them."""
    if about.kind == "request":  # its lines tell the tasks, whose other lines may come before and in other logs
        for _, line in _all_lines(followed):
            about(line)
    return [(name, line.decode(errors="replace")) for name, line in _all_lines(followed) if about(line)]


def _all_lines(followed: dict[Path, FollowedLog]) -> Iterator[tuple[str, bytes]]:
    for path, log in followed.items():
        for file in reversed(_older(path, log)):
            with file:
                for line in file:
                    yield path.stem, line.removesuffix(b"\n")
        for line in log.before():
            yield path.stem, line


def _older(path: Path, log: FollowedLog) -> list[BinaryIO]:
    """Opened the newest first: what is rotated meanwhile is then met twice, and not missed."""
    files: list[BinaryIO] = []
    met = {log.inode}
    for part in logfiles.rotated(path):
        with contextlib.suppress(FileNotFoundError):
            file = part.open("rb")
            inode = os.fstat(file.fileno()).st_ino
            if inode in met:
                file.close()
            else:
                met.add(inode)
                files.append(file)
    return files
