"""How long something takes: fixed, normal, long-tailed or as recorded. Each is drawn by one number between 0 and 1.

In words, as a flag or a directive gives it: `2`, `normal:1:0.2` (mean and standard deviation, never below 0),
`lognormal:0.8:4` (p50 and p99), all in seconds; and as a flag alone `recorded:FILE`, one number of seconds a line.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Protocol

LONGEST_SECONDS = 86_400.0
MOST_RECORDED = 1_000_000

_EXPECTED = f"a number of seconds from 0 to {LONGEST_SECONDS:.0f}, normal:MEAN:DEVIATION or lognormal:P50:P99"
_NORMAL = NormalDist()
_P99 = _NORMAL.inv_cdf(0.99)


class Latency(Protocol):
    def at(self, share: float) -> float:
        """The seconds that this share of all draws stay below; 0 < share < 1."""


@dataclass(frozen=True, slots=True)
class Fixed:
    seconds: float

    def at(self, share: float) -> float:
        del share
        return self.seconds


@dataclass(frozen=True, slots=True)
class Normal:
    mean: float
    deviation: float

    def at(self, share: float) -> float:
        return min(max(0.0, self.mean + self.deviation * _NORMAL.inv_cdf(share)), LONGEST_SECONDS)


@dataclass(frozen=True, slots=True)
class LogNormal:
    """The shape that model calls have: most are quick, a few take many times as long."""

    p50: float
    p99: float

    def at(self, share: float) -> float:
        spread = math.log(self.p99 / self.p50) / _P99
        return min(self.p50 * math.exp(spread * _NORMAL.inv_cdf(share)), LONGEST_SECONDS)


@dataclass(frozen=True, slots=True)
class Recorded:
    """Each recorded value as often as any other. `values` are in order of size."""

    values: tuple[float, ...]

    def at(self, share: float) -> float:
        return self.values[int(share * len(self.values))]


NONE = Fixed(0.0)


def read_latency(text: str) -> Latency:
    """What the words say, without files: a request names none. ValueError tells what would be right."""
    kind, given, rest = text.partition(":")
    if not given:
        return Fixed(_seconds(kind))
    numbers = rest.split(":")
    if kind == "normal" and len(numbers) == 2:
        return Normal(*map(_seconds, numbers))
    if kind == "lognormal" and len(numbers) == 2:
        p50, p99 = map(_seconds, numbers)
        if not 0 < p50 <= p99:
            raise ValueError(f"lognormal:P50:P99 with a p50 above 0 and a p99 not below it, not {rest}")
        return LogNormal(p50, p99)
    if kind == "recorded":
        raise ValueError("named where the simulator is started (--latency recorded:FILE): no request opens a file")
    raise ValueError(_EXPECTED)


def read_option(text: str) -> Latency:
    """As `read_latency`, and `recorded:FILE`. ValueError tells what would be right, and of a file which line."""
    kind, given, path = text.partition(":")
    return _recorded(Path(path)) if kind == "recorded" and given else read_latency(text)


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= LONGEST_SECONDS:
        raise ValueError(_EXPECTED)
    return number


def _recorded(path: Path) -> Recorded:
    values = []
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                word = line.partition("#")[0].strip()
                if not word:
                    continue
                try:
                    values.append(_seconds(word))
                except ValueError:
                    raise ValueError(
                        f"a file of seconds, one a line; line {number} of {path} is {word[:40]!r}"
                    ) from None
                if len(values) > MOST_RECORDED:
                    raise ValueError(f"a file of at most {MOST_RECORDED} numbers; {path} has more")
    except OSError as error:
        raise ValueError(f"a file that can be read; {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"a file of seconds, one a line; {path} is no text") from None
    if not values:
        raise ValueError(f"a file of seconds, one a line; {path} holds none")
    return Recorded(tuple(sorted(values)))
