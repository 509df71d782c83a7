"""Counts of durations in narrow classes: quantiles right to 5 %, at a fixed cost, however many there are."""

from bisect import bisect_left
from typing import Any

_A_DECADE = 48
_DECADES = 8
# from 0.1 ms to 10,000 s, each 4.9 % above the one before
BOUNDS = [1e-4 * 10 ** (step / _A_DECADE) for step in range(_A_DECADE * _DECADES + 1)]
SHOWN = range(0, len(BOUNDS), _A_DECADE // 6)
"""Every eighth bound: those that a Prometheus histogram gets."""


class Spread:
    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.most = 0.0
        self._classes = [0] * (len(BOUNDS) + 1)

    def add(self, seconds: float) -> None:
        """Less than nothing counts as nothing."""
        seconds = max(seconds, 0.0)
        self.count += 1
        self.total += seconds
        self.most = max(self.most, seconds)
        self._classes[bisect_left(BOUNDS, seconds)] += 1

    def quantile(self, share: float) -> float:
        """The upper end of the class that holds it, and never above the largest value; 0 when there is none."""
        wanted, seen = share * self.count, 0
        for bound, number in zip(BOUNDS, self._classes, strict=False):
            seen += number
            if seen >= wanted and seen:
                return min(bound, self.most)
        return self.most

    def buckets(self) -> list[tuple[str, int]]:
        """As Prometheus has them: upper bound, and how many are not above it."""
        found, seen, at = [], 0, 0
        for index in SHOWN:
            seen += sum(self._classes[at : index + 1])
            at = index + 1
            found.append((f"{BOUNDS[index]:.6g}", seen))
        return [*found, ("+Inf", self.count)]

    def as_json(self) -> dict[str, Any]:
        mean = self.total / self.count if self.count else 0.0
        shares = {f"p{share:g}_s": round(self.quantile(share / 100), 6) for share in (50, 95, 99)}
        return {
            "count": self.count,
            "total_s": round(self.total, 6),
            "mean_s": round(mean, 6),
            **shares,
            "max_s": round(self.most, 6),
        }
