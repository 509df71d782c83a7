"""Rate limits, as a provider holds them: so many calls in a time, so many at once; what is over answers 429."""

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from loadtest.simulator.request import RefusedError

MOST = 1_000_000
LONGEST_WINDOW = 3600.0


@dataclass(frozen=True, slots=True)
class Quota:
    """`rpm` requests a minute, held over `window` seconds (60: any minute; 1: a sixtieth of them in any second), and
    `concurrent` at once. None: no limit.
    """

    rpm: int | None = None
    window: float = 60.0
    concurrent: int | None = None

    @property
    def in_window(self) -> int | None:
        return None if self.rpm is None else max(1, math.floor(self.rpm * self.window / 60))


NO_QUOTA = Quota()


class LimitedError(RefusedError):
    """A call over a limit. `limit` is `rpm` or `concurrent`, `wait` the seconds until there is room."""

    def __init__(self, limit: str, allowed: int, wait: float) -> None:
        what = "requests per min (RPM)" if limit == "rpm" else "concurrent requests"
        super().__init__(
            f"Rate limit reached for the simulated model on {what}: Limit {allowed}. Please try again in {wait:.3g}s.",
            status=429,
            kind="requests",
            code="rate_limit_exceeded",
        )
        self.limit = limit
        self.headers = [
            (b"retry-after", str(max(1, math.ceil(wait))).encode()),
            (b"retry-after-ms", str(max(1, math.ceil(wait * 1000))).encode()),
        ]


class Limits:
    def __init__(self, quota: Quota) -> None:
        self._first = quota
        self.quota = quota
        self.refused: dict[str, int] = {"rpm": 0, "concurrent": 0}
        self._inside = 0
        self._let_in: deque[float] = deque()

    @contextmanager
    def place(self, now: float) -> Iterator[None]:
        """Holds a place for one call, or raises LimitedError; a refused one uses up nothing. `now` is a clock's."""
        self._enter(now)
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    def _enter(self, now: float) -> None:
        quota = self.quota
        if quota.concurrent is not None and self._inside >= quota.concurrent:
            self.refused["concurrent"] += 1
            raise LimitedError("concurrent", quota.concurrent, 1.0)
        allowed = quota.in_window
        if allowed is None:
            return
        times = self._let_in
        while times and times[0] <= now - quota.window:
            times.popleft()
        if len(times) >= allowed:
            self.refused["rpm"] += 1
            # the limit may have been lowered meanwhile: room comes when all but `allowed - 1` are past
            raise LimitedError("rpm", quota.rpm or 0, times[len(times) - allowed] + quota.window - now)
        times.append(now)

    def set(self, data: object) -> None:
        """Takes `{"rpm", "window", "concurrent"}`, null or left out for none; a wrong one changes nothing."""
        if not isinstance(data, dict) or data.keys() - {"rpm", "window", "concurrent", "refused"}:
            raise RefusedError("Expected an object with rpm, window and concurrent, or some of them.")
        rpm, concurrent = _count(data, "rpm"), _count(data, "concurrent")
        window = data.get("window", 60.0)
        if isinstance(window, bool) or not isinstance(window, int | float) or not 0 < window <= LONGEST_WINDOW:
            raise RefusedError(
                f"Expected 'window' to be seconds above 0, {LONGEST_WINDOW:.0f} at most.", param="window"
            )
        self.quota = Quota(rpm, float(window), concurrent)
        self._let_in.clear()

    def reset(self) -> None:
        """Back to what the simulator was started with."""
        self.quota = self._first
        self._let_in.clear()

    def clear_counts(self) -> None:
        self.refused = dict.fromkeys(self.refused, 0)

    def as_json(self) -> dict[str, Any]:
        quota = self.quota
        return {"rpm": quota.rpm, "window": quota.window, "concurrent": quota.concurrent, "refused": dict(self.refused)}


def _count(data: dict[str, Any], name: str) -> int | None:
    value = data.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST):
        raise RefusedError(f"Expected '{name}' to be an integer from 1 to {MOST}, or null for none.", param=name)
    return value
