"""`python -m tests.worker.wrong_clock SECONDS ...`: the scripted worker on a machine whose clock is wrong by so much.

The clock of Python's own modules, which is all that a worker has beside its monotonic one.
"""

import datetime as dt
import runpy
import sys
import time

SECONDS = float(sys.argv.pop(1))
_time = time.time
_now = dt.datetime.now


class Wrong(dt.datetime):
    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> "Wrong":
        right = _now(tz) + dt.timedelta(seconds=SECONDS)
        return cls.fromtimestamp(right.timestamp(), tz)


time.time = lambda: _time() + SECONDS
time.time_ns = lambda: int((_time() + SECONDS) * 1e9)
dt.datetime = Wrong  # type: ignore[misc]  # for whoever imports it from here on

if __name__ == "__main__":
    runpy.run_module("tests.worker.scripted", run_name="__main__", alter_sys=True)
