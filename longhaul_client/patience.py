"""Whether a call that failed is sent again, and when."""

import random
from collections.abc import Callable
from typing import Final

from longhaul_client.errors import LonghaulError

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 10.0


class Patience:
    """Of one call. Pauses grow from failure to failure, and are spread, so that the clients of a gateway that went away
    don't come back as one.
    """

    def __init__(self, for_s: float, clock: Callable[[], float], spread: random.Random) -> None:
        """`for_s`: no attempt begins later than that after the first failure; 0 is none but the first."""
        self._for_s = for_s
        self._clock = clock
        self._spread = spread
        self._failures = 0
        self._until: float | None = None

    def renew(self) -> None:
        """Something came: what failed before is over."""
        self._failures, self._until = 0, None

    def pause(self, error: LonghaulError, at_least_s: float = 0) -> float:
        """Seconds until the next attempt. Raises `error` when there is none."""
        if not error.is_passing:
            raise error
        now = self._clock()
        if self._until is None:
            self._until = now + self._for_s
        grown: float = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self._failures, 10))
        self._failures += 1
        told = max(at_least_s, error.retry_after_s or 0)
        seconds = told + self._spread.uniform(0.5, 1) * (min(1.0, grown) if told else grown)
        if now + seconds > self._until:
            raise error
        return seconds
