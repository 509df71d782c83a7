"""What a process has used, seen from outside: processor time and memory."""

import time
from typing import Final

import psutil

_CLOCK_OF_A_PROCESS: Final = 2  # Linux's CPUCLOCK_SCHED: all threads, also those that have ended


def cpu_seconds(pid: int) -> float:
    """User and system time so far. On Linux to the nanosecond: what /proc and psutil tell comes in hundredths of a
    second, which is the whole of some of what is measured here. Raises psutil.NoSuchProcess.
    """
    try:
        return time.clock_gettime((~pid << 3) | _CLOCK_OF_A_PROCESS)
    except OSError:  # no Linux, or no such process
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)


def memory_mib(pid: int) -> float:
    """Resident memory, as `ps` shows it and as a container's limit counts it."""
    return float(psutil.Process(pid).memory_info().rss) / 2**20
