"""What the simulator gave against what it was asked to give: an instrument that lags says so."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from loadtest.simulator.spread import Spread

TICK_SECONDS = 0.05


class Meters:
    """Durations in seconds. `late` is given less asked, call by call: the simulator's own part of every latency."""

    def __init__(self, in_flight: Callable[[], int]) -> None:
        self._in_flight = in_flight
        self._ticking = False
        self.clear()

    def clear(self) -> None:
        self.asked = Spread()
        self.given = Spread()
        self.late = Spread()
        self.first_asked = Spread()
        self.first_given = Spread()
        self.first_late = Spread()
        self.loop_late = Spread()

    def answered(self, asked: float, given: float) -> None:
        """A whole answer, or the end of a stream."""
        self.asked.add(asked)
        self.given.add(given)
        self.late.add(given - asked)

    def first_token(self, asked: float, given: float) -> None:
        """Of a stream."""
        self.first_asked.add(asked)
        self.first_given.add(given)
        self.first_late.add(given - asked)

    def watch(self) -> None:
        """Looks how late the event loop is, from now until no call is in flight."""
        if not self._ticking:
            self._ticking = True
            self._again()

    def _tick(self, due: float) -> None:
        self.loop_late.add(time.perf_counter() - due)
        self._ticking = self._in_flight() > 0
        if self._ticking:
            self._again()

    def _again(self) -> None:
        # by a clock that moves within a turn of the loop: uvloop's own stands still there
        due = time.perf_counter() + TICK_SECONDS
        asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick, due)

    def as_json(self) -> dict[str, Any]:
        return {
            "latency": {name: getattr(self, name).as_json() for name in ("asked", "given", "late")},
            "first_token": {name: getattr(self, f"first_{name}").as_json() for name in ("asked", "given", "late")},
            "loop_late": self.loop_late.as_json(),
        }
