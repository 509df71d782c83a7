"""The last lines of every process's log, in the order of their times; with -f, what comes after them, until Ctrl-C.

NAME is a process such as worker-1, or the beginning of several, such as worker. With --task, all lines about one task
of this machine's processes, rotated logs included; with -f too, until the task has ended. --request does so for the
tasks that a request named. docs/logs.md tells what the lines mean.
"""

import argparse
import contextlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from operations import configuration, logfiles
from operations.argument_types import count
from operations.errors import CommandError
from operations.followed_log import FollowedLog
from operations.log_search import About, found
from operations.task_ends import TaskEnds

_LOOK_SECONDS = 0.2
_LINES = 50

# Our own lines start with an ISO time; Redis writes `1234:M 21 Nov 2026 09:41:46.123 * ...` in local time.
_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,6})?(?:Z|[+-]\d\d:?\d\d)?")
_REDIS = re.compile(r"^\d+:[A-Z] (\d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3})")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these processes")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is written from now on")
    parser.add_argument(
        "-n", "--lines", type=count, metavar="N", help=f"how many lines to begin with ({_LINES}; about a task: all)"
    )
    about = parser.add_mutually_exclusive_group()
    about.add_argument("--task", metavar="ID", help="all lines about this task")
    about.add_argument("--request", metavar="ID", help="all about this request (X-Request-Id) and the tasks it named")
    about.add_argument("--trace", metavar="ID", help="all lines with this trace id")


def run(arguments: argparse.Namespace) -> int:
    about = next(
        (About(kind, name) for kind in ("task", "request", "trace") if (name := getattr(arguments, kind)) is not None),
        None,
    )
    folder = logfiles.directory(configuration.var_dir())
    if not _logs(folder, arguments.names) and not arguments.follow:
        known = ", ".join(sorted(path.stem for path in folder.glob("*.log")))
        raise CommandError(
            f"no log of {' '.join(arguments.names)}. There are: {known}."
            if known
            else f"there are no logs in {folder}: nothing was started yet. Start it: python3 manage.py start."
        )
    # opened first: no line falls between what is there and what comes
    followed = {path: FollowedLog(path) for path in _logs(folder, arguments.names)}
    try:
        if about is not None:
            _show_about(about, arguments, folder, followed)
            return 0
        for name, line in _last_lines(_logs(folder, arguments.names), arguments.lines or _LINES):
            _show(name, line)
        if arguments.follow:
            with contextlib.suppress(KeyboardInterrupt):
                _follow(folder, arguments.names, followed, lambda _: True, lambda: False)
    finally:
        for log in followed.values():
            log.close()
    return 0


def _show_about(about: About, arguments: argparse.Namespace, folder: Path, followed: dict[Path, FollowedLog]) -> None:
    lines = _merged(found(followed, about))
    if not lines and not arguments.follow:
        raise CommandError(
            f"no line in {folder} is about {about}. It ran elsewhere, or its lines were rotated away: of each process "
            f"{(logfiles.KEPT + 1) * logfiles.MAX_BYTES // 1_000_000} MB are kept."
        )
    for name, line in lines[-(arguments.lines or len(lines)) :]:
        _show(name, line)
    if arguments.follow:
        ends = TaskEnds()
        with contextlib.suppress(KeyboardInterrupt):
            _follow(folder, arguments.names, followed, about, _Over(about, ends))
        for task in sorted(about.tasks & ends.told.keys()):
            print(f"manage.py logs: task {task} is {ends.told[task]}.", file=sys.stderr)


class _Over:
    """Whether nothing more is to come of the tasks: they have ended, and their workers had the time to say so."""

    _ASK_EVERY_S = 1.0
    _LAST_WORDS_S = 1.0

    def __init__(self, about: About, ends: TaskEnds) -> None:
        self._about, self._ends = about, ends
        self._ask_at = self._over_at = 0.0

    def __call__(self) -> bool:
        now = time.monotonic()
        if self._over_at:
            return now >= self._over_at
        if self._about.tasks and now >= self._ask_at:
            self._ask_at = now + self._ASK_EVERY_S
            if self._ends.look(self._about.tasks):
                self._over_at = time.monotonic() + self._LAST_WORDS_S
        return False


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
    return _merged((path.stem, line) for path in paths for line in logfiles.tail(path, count))[-count:]


def _merged(lines: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """In the order of their times; those of one process come together and in its order."""
    timed = []
    last, at = "", 0.0
    for name, line in lines:
        at = moment(line) or (at if name == last else 0.0)  # a traceback's lines belong to the line above them
        last = name
        timed.append((at, name, line))
    timed.sort(key=lambda one: one[0])
    return [(name, line) for _, name, line in timed]


def _follow(
    folder: Path,
    names: list[str],
    followed: dict[Path, FollowedLog],
    wanted: Callable[[bytes], bool],
    over: Callable[[], bool],
) -> None:
    while not over():
        for path in _logs(folder, names):
            if path not in followed:  # a process that was not there before
                followed[path] = FollowedLog(path, from_start=True)
            for line in followed[path].lines():
                if wanted(line):
                    _show(path.stem, line.decode(errors="replace"))
        time.sleep(_LOOK_SECONDS)


def _show(name: str, line: str) -> None:
    print(f"{name:<12} | {_readable(line)}", flush=True)


def _readable(line: str) -> str:
    """A JSON line in the form for people; any other as it is."""
    if line.startswith('{"at": "'):
        from monitoring.log_lines import as_line  # noqa: PLC0415  structlog is no part of every command's start-up

        with contextlib.suppress(ValueError):
            return as_line(json.loads(line)) or line
    return line
