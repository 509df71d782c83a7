"""Power loss, modelled: Redis is killed and starts again on as much of its append-only file as had reached the disk.

A kill alone loses nothing that Redis has written: the kernel keeps it. What a power cut would leave is known here in
two ways. `Lengths` samples the file's length: with `appendfsync always` Redis writes, syncs and only then answers, so
that a cut at the moment of a sample leaves at least all that was answered before it; with `everysec` it may leave the
length of a second before. `Fsyncs` knows it exactly, by a library between Redis and libc that notes each length that
was synced; it needs a C compiler.
"""

import bisect
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from .conftest import Stumbling
from .redis_process import until

EVERY_S = 0.002

INTERPOSED = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Notes inode and length that a sync has brought to the disk: what was written while it ran does not count. */
static int synced(int fd, const char *name) {
  struct stat before;
  int known = fstat(fd, &before) == 0;
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  int result = real(fd);
  if (result == 0 && known) {
    int log = open(getenv("FSYNC_LOG"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    dprintf(log, "%llu %lld\n", (unsigned long long)before.st_ino, (long long)before.st_size);
    close(log);
  }
  return result;
}
int fdatasync(int fd) { return synced(fd, "fdatasync"); }
int fsync(int fd) { return synced(fd, "fsync"); }
"""


class Fsyncs:
    """Which length of a file is on the disk."""

    def __init__(self, folder: Path) -> None:
        source, library = folder / "fsyncs.c", folder / "fsyncs.so"
        self._log = folder / "fsyncs.log"
        compiler = shutil.which("cc")
        assert compiler, "this needs a C compiler (Debian and Ubuntu: apt install gcc)"
        source.write_text(INTERPOSED)
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        self.environment = {"LD_PRELOAD": str(library), "FSYNC_LOG": str(self._log)}

    def length(self, path: Path) -> int:
        inode = path.stat().st_ino
        found = [line.split() for line in self._log.read_text().splitlines()]
        return max(int(length) for of, length in found if int(of) == inode)


class Lengths:
    """How long a file was when, in a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: list[tuple[float, int]] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._ending.wait(EVERY_S):
            at = time.monotonic()  # before the look: what was answered by then was written by then
            self._found.append((at, self._path.stat().st_size))

    def stop(self) -> None:
        self._ending.set()
        self._thread.join(10)

    def last(self) -> tuple[float, int]:
        return self._found[-1]

    def at(self, moment: float) -> int:
        """The length at the last look before."""
        place = bisect.bisect(self._found, (moment, 0))
        return self._found[place - 1][1]


@dataclass
class Journal:
    """What clients were told, and when, by the monotonic clock."""

    accepted: dict[str, float] = field(default_factory=dict)
    finished: dict[str, tuple[float, str]] = field(default_factory=dict)
    """When it was seen to have succeeded, and the `completed_at` of then."""


@contextmanager
def clients(url: str, number: int = 4) -> Iterator[Journal]:
    """Submit, and look at what they submitted, as fast as they can."""
    journal, ending = Journal(), threading.Event()

    def submit_and_poll() -> None:
        open_tasks: list[str] = []
        with httpx.Client(base_url=url, trust_env=False, verify=False, timeout=30) as http:
            while not ending.is_set():
                answer = http.post("/task", json={"message": "say done"})
                if answer.status_code == httpx.codes.OK:
                    task_id = answer.json()["task_id"]
                    journal.accepted[task_id] = time.monotonic()
                    open_tasks.append(task_id)
                seen = http.get(f"/task/{open_tasks[0]}") if open_tasks else answer
                if seen.status_code == httpx.codes.OK and seen.json()["status"] == "success":
                    del open_tasks[0]
                    journal.finished[seen.json()["task_id"]] = (time.monotonic(), seen.json()["completed_at"])

    with ThreadPoolExecutor(number) as pool:
        running = [pool.submit(submit_and_poll) for _ in range(number)]
        try:
            yield journal
        finally:
            ending.set()
    for one in running:
        one.result()


@dataclass(frozen=True)
class Loss:
    """Of what clients had been told before the power went."""

    accepted: int
    lost: int
    finished: int
    ran_again: int
    """Seen to have succeeded, and once more after the cut: the final status was rolled back."""
    oldest_s: float
    """How long before the cut the first one that was lost had been acknowledged; 0 when none was."""


def cut(stumbling: Stumbling, fsync: str, *, accepted: int, seconds: float, fsyncs: Fsyncs | None = None) -> Loss:
    """Cuts the power some seconds after so many submits; what was accepted and is still there succeeds in the end."""
    redis = stumbling.redis
    redis.client.config_set("appendfsync", fsync)
    lengths = Lengths(redis.append_only_file)
    with clients(str(stumbling.http.base_url)) as journal:
        until(lambda: len(journal.accepted) >= accepted, "clients work")
        time.sleep(seconds)  # of more work
        redis.kill()
        moment, length = time.monotonic(), 0
        lengths.stop()
        if fsyncs is not None:
            length = fsyncs.length(redis.append_only_file)
        elif fsync == "always":
            moment, length = lengths.last()
        else:
            length = lengths.at(moment - 1)
        # what they were told before the cut, and not what they are told after it
        told = [task_id for task_id, at in list(journal.accepted.items()) if at <= moment]
        finished = {task_id: when for task_id, (at, when) in list(journal.finished.items()) if at <= moment}
        redis.lose_power(length, "--appendfsync", fsync)
        until(stumbling.is_well, "both processes go on by themselves")

    def statuses() -> list[str | None]:
        with redis.client.pipeline(transaction=False) as pipe:
            for task_id in told:
                pipe.hget(f"lh:task:{task_id}", "status")
            return pipe.execute()

    until(lambda: set(statuses()) <= {"success", None}, "what is there ends", 120)
    kept = {task_id for task_id, status in zip(told, statuses(), strict=True) if status}
    again = [
        task_id
        for task_id, when in finished.items()
        if task_id in kept and stumbling.task(task_id)["completed_at"] != when
    ]
    oldest_s = max((moment - journal.accepted[task_id] for task_id in told if task_id not in kept), default=0.0)
    return Loss(len(told), len(told) - len(kept), len(finished), len(again), oldest_s)
