"""What a process has used, seen from outside: processor time and memory."""

import sys
import time
from pathlib import Path
from typing import Final

import psutil

_CLOCK_OF_A_PROCESS: Final = 2  # Linux's CPUCLOCK_SCHED: all threads, also those that have ended


def cpu_seconds(pid: int) -> float:
    """User and system time so far. On Linux to the nanosecond: what /proc and psutil tell comes in hundredths of a
    second, which is the whole of some of what is measured here. Raises OSError or psutil.NoSuchProcess.
    """
    if sys.platform == "linux":
        return time.clock_gettime((~pid << 3) | _CLOCK_OF_A_PROCESS)
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def memory_mib(pid: int) -> float:
    """Resident memory, as `ps` shows it and as a container's limit counts it."""
    return float(psutil.Process(pid).memory_info().rss) / 2**20


def shared_out_mib(pid: int) -> float:
    """Memory with each shared page divided among those who share it (PSS); resident memory where nobody tells."""
    rollup = Path(f"/proc/{pid}/smaps_rollup")
    if not rollup.exists():
        return memory_mib(pid)
    line = next(line for line in rollup.read_text().splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) / 1024
