"""What a process says of itself: also while its event loop does not move, and up to its end."""

import asyncio
import threading
import time

import pytest

from monitoring import metrics, process_metrics
from monitoring.process_metrics import ProcessMetrics, Role

ROLE: Role = "quarantine"
"""No other test's in this process."""


async def test_a_loop_that_does_not_move_is_seen_meanwhile(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(process_metrics, "LOOK_EVERY_S", 0.02)
    process, seen = ProcessMetrics(ROLE), threading.Event()
    await process.start()
    lag = metrics.LOOP_LAG.labels(ROLE)

    def watch() -> None:
        until = time.monotonic() + 60
        while not seen.is_set() and time.monotonic() < until:
            if lag._value.get() > 0.3:
                seen.set()
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    blocked = seen.wait(60)  # the loop itself stands here
    watcher.join()
    await process.stop()
    assert blocked, "it was late for longer than that, and nobody said so"


async def test_processor_time_is_counted_once_and_up_to_the_end():
    counter = metrics.CPU.labels(ROLE)
    process, before = ProcessMetrics(ROLE), counter._value.get()
    began = time.process_time()
    await process.start()
    while time.process_time() < began + 0.05:
        await asyncio.sleep(0)
    used = time.process_time()
    await process.stop()
    # all of the process's, also from before the start; less than a look takes is not told apart
    assert used <= counter._value.get() - before <= time.process_time()
