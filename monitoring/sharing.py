"""The directory in which the processes of one kind on a host add up their counts.

Each process writes files of its own there (prometheus_client's), and any of them answers the sum of all. What a process
counted outlives it: whoever reads next moves the counts of the dead into the `ended` files, so that a crash loop leaves
no pile of files, and removes their live gauges.

A process is alive while it holds the lock on its own counter file. The kernel gives that back however the process ends,
and no later process with the same id is taken for it.
"""

import contextlib
import fcntl
import os
import re
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from prometheus_client import Metric, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

MULTIPROC_DIR = "PROMETHEUS_MULTIPROC_DIR"

SIZES = {"counter": 262_144, "histogram": 1_048_576, "gauge_livesum": 16_384, "gauge_livemax": 16_384}
"""Bytes of each of a process's files, written out in full when it starts: a disk that fills up later would else end
the process at its next count, by a signal. A file that gets larger grows as prometheus_client makes it grow.
"""
SUMS = ("histogram", "counter")
"""What outlives its process. The counter file goes last: by it the dead are known."""
LOCK_S = 2.0
"""Longest wait for the directory's lock, which is held for milliseconds, unless its holder was stopped meanwhile."""
READS = 5
AGAIN_AFTER_S = 0.01

_OF_A_PROCESS = re.compile(r"\w+_(\d+)\.db")


class CountsDirectory:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._alive = -1

    def join(self) -> None:
        """Makes the files of this process. Before a metric is declared, which opens them. Raises OSError."""
        self.path.mkdir(parents=True, exist_ok=True)
        with self._locked():
            pid = os.getpid()
            for kind, size in SIZES.items():
                own = self._file(kind, pid)
                if own.exists():  # of a dead one that had this id: prometheus_client would go on from its counts
                    own.rename(self._file(kind, time.time_ns()))
                own.write_bytes(bytes(size))
            self._alive = os.open(self._file("counter", pid), os.O_RDONLY)  # until the process ends
            fcntl.flock(self._alive, fcntl.LOCK_SH)

    def read(self) -> Iterable[Metric]:
        """The sums over all processes that counted here, and the gauges of those that live. Raises OSError."""
        with self._locked(demanded=False) as alone:
            if alone:
                with contextlib.suppress(OSError):  # a full disk: they stay where they are, and count all the same
                    self._recover()
                    for pid in self._processes():
                        if not self._lives(pid):
                            self._bury(pid)
            for left in reversed(range(READS)):
                try:
                    found: Iterable[Metric] = MultiProcessCollector.merge(  # type: ignore[no-untyped-call]  # theirs
                        [str(file) for file in sorted(self.path.glob("*.db"))]
                    )
                except (struct.error, RuntimeError, FileNotFoundError):  # in the midst of a change
                    if not left:
                        raise
                    time.sleep(AGAIN_AFTER_S)
                else:
                    return found
        raise AssertionError  # the last turn of the loop returns or raises

    @contextlib.contextmanager
    def _locked(self, *, demanded: bool = True) -> Iterator[bool]:
        """Whether this process has the directory for itself. `demanded`: TimeoutError when it has not."""
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            got = _lock(descriptor, time.monotonic() + LOCK_S)
            if demanded and not got:
                raise TimeoutError(f"another process holds {self.path / 'lock'}")
            yield got
        finally:
            os.close(descriptor)

    def _file(self, kind: str, whose: int | str, ending: str = "db") -> Path:
        return self.path / f"{kind}_{whose}.{ending}"

    def _processes(self) -> set[int]:
        names = (_OF_A_PROCESS.fullmatch(file.name) for file in self.path.glob("*.db"))
        return {int(name[1]) for name in names if name}

    def _lives(self, pid: int) -> bool:
        try:
            descriptor = os.open(self._file("counter", pid), os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            return not _lock(descriptor)
        finally:
            os.close(descriptor)

    # -- the dead

    def _bury(self, pid: int) -> None:
        """Killed between any two steps, the next one finishes it: nothing is lost, and nothing counts twice."""
        for gauges in self.path.glob(f"gauge_*_{pid}.db"):
            gauges.unlink()
        for kind in SUMS:
            own, ended, adding = self._file(kind, pid), self._file(kind, "ended"), self._file(kind, "ended", "adding")
            if own.exists():
                partial = self._file(kind, "ended", "partial")
                partial.unlink(missing_ok=True)
                _write(partial, _sum(file for file in (ended, own) if file.exists()))
                own.rename(adding)  # from here on it counts as part of `partial`, which is whole
                partial.rename(ended)
                adding.unlink()

    def _recover(self) -> None:
        for kind in SUMS:
            adding, partial = self._file(kind, "ended", "adding"), self._file(kind, "ended", "partial")
            if adding.exists():
                if partial.exists():
                    partial.rename(self._file(kind, "ended"))
                adding.unlink()
            partial.unlink(missing_ok=True)


def join() -> tuple[CountsDirectory | None, str]:
    """The directory that PROMETHEUS_MULTIPROC_DIR names, joined. None when there is none, or when it cannot be used,
    and why: then this process counts for itself. Before a metric is declared.
    """
    joined, reason = None, ""
    if name := os.environ.get(MULTIPROC_DIR):
        directory = CountsDirectory(Path(name))
        try:
            directory.join()
        except OSError as error:
            reason = f"{name} cannot be used: {error}"
        else:
            joined = directory
    if joined is None:
        os.environ.pop(MULTIPROC_DIR, None)  # prometheus_client looks at whether it is there, and did so before
    values.ValueClass = (
        values.get_value_class()  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
        if joined is None
        else values.MultiProcessValue(_own_pid)  # type: ignore[no-untyped-call]  # as above
    )
    return joined, reason


_pid = os.getpid()


def _own_pid() -> int:
    """prometheus_client asks at each count, a dozen times a task, and the kernel takes longer than the count."""
    return _pid


def _look_at_pid() -> None:
    global _pid  # noqa: PLW0603  a fork is another process
    _pid = os.getpid()


os.register_at_fork(after_in_child=_look_at_pid)


def _lock(descriptor: int, until: float = 0.0) -> bool:
    """Whether it got the lock, by then at the latest."""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(AGAIN_AFTER_S)
        else:
            return True


def _sum(files: Iterable[Path]) -> Mapping[str, float]:
    total: dict[str, float] = {}
    for file in files:
        for key, value, _, _ in MmapedDict.read_all_values_from_file(str(file)):  # type: ignore[no-untyped-call]
            total[key] = total.get(key, 0.0) + value
    return total


def _write(file: Path, values: Mapping[str, float]) -> None:
    room = sum(len(key.encode()) + 32 for key in values) + 8
    file.write_bytes(bytes(room))  # so that a full disk is an error here and no signal later
    written = MmapedDict(str(file))  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
    for key, value in values.items():
        written.write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
    written.close()  # type: ignore[no-untyped-call]
