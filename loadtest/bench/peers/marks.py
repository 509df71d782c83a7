"""When each task began and ended, told without Redis: a file that worker and client share.

A mark costs well under a microsecond, the same for every contender. Times are the machine's monotonic clock, in ns,
which is one for all processes. A worker process has a file of its own; the threads of one may mark at the same time.
"""

import itertools
import mmap
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns

MOST = 1 << 17
"""Runs that one process can mark."""

_FIELDS = 3  # task's number + 1 (so that 0 is none), began, ended
_BYTES = 8 * _FIELDS * MOST


@dataclass(frozen=True, slots=True)
class Mark:
    """One run of a task. `ended` is 0 while it runs."""

    number: int
    began: int
    ended: int
    pid: int


class Marker:
    """The worker's side. The file is made at the first mark: by then frameworks have forked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._slots = itertools.count()
        self._lock = threading.Lock()
        self._view: memoryview | None = None

    def began(self, number: int) -> int:
        """The slot that `ended` wants."""
        view = self._view or self._open()
        slot = next(self._slots) * _FIELDS
        view[slot + 1] = monotonic_ns()
        view[slot] = number + 1
        return slot

    def ended(self, slot: int) -> None:
        view = self._view or self._open()
        view[slot + 2] = monotonic_ns()

    def _open(self) -> memoryview:
        with self._lock:
            if self._view is None:
                with (self._folder / f"{os.getpid()}.marks").open("x+b") as file:
                    file.truncate(_BYTES)
                    self._view = memoryview(mmap.mmap(file.fileno(), _BYTES)).cast("Q")
            return self._view


class Marks:
    """The reader's side."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._views: dict[Path, memoryview] = {}
        self._over: dict[Path, int] = {}

    def all(self) -> list[Mark]:
        return [mark for path, view in self._known() for mark in _marks(path, view, 0)]

    def of(self, number: int) -> list[Mark]:
        """The runs of one task, first to last."""
        return sorted((mark for mark in self.all() if mark.number == number), key=lambda mark: mark.began)

    def unfinished_or_new(self) -> list[Mark]:
        """As `all`, without those before the first that has not ended, as far as an earlier call has seen them end:
        quick, for who asks again and again.
        """
        found = []
        for path, view in self._known():
            contiguous = True
            for mark in _marks(path, view, self._over[path]):
                found.append(mark)
                contiguous = contiguous and mark.ended != 0
                if contiguous:
                    self._over[path] += _FIELDS
        return found

    def _known(self) -> Iterator[tuple[Path, memoryview]]:
        for path in self._folder.glob("*.marks"):
            if path not in self._views:
                with path.open("r+b") as file:
                    if os.fstat(file.fileno()).st_size < _BYTES:
                        continue  # being made at this moment
                    self._views[path] = memoryview(mmap.mmap(file.fileno(), _BYTES)).cast("Q")
                self._over[path] = 0
            yield path, self._views[path]


def _marks(path: Path, view: memoryview, begin: int) -> Iterator[Mark]:
    pid = int(path.stem)
    for slot in range(begin, len(view), _FIELDS):
        if not view[slot]:
            return
        yield Mark(view[slot] - 1, view[slot + 1], view[slot + 2], pid)
