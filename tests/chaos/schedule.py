"""Which fault strikes when, what it strikes and for how long: all from the seed, so that a run can be repeated."""

import random
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    KILL_WORKER = "kill -9 worker"
    KILL_GATEWAY = "kill -9 gateway"
    KILL_REDIS = "kill -9 Redis"
    TERM_WORKER = "SIGTERM worker"
    STOP_WORKER = "SIGSTOP worker"
    STOP_REDIS = "SIGSTOP Redis"
    CUT = "connections cut"
    SLOW = "connections slow"
    HALF_OPEN = "connections half open"
    LOST_REPLIES = "replies lost"
    PROVIDER_ERROR = "provider error"
    PROVIDER_HANG = "provider hang"
    PROVIDER_DRIP = "provider drip"
    PROVIDER_BROKEN = "provider broken stream"
    POISON = "poison task"


DECK: Final = {
    Kind.KILL_WORKER: 10,
    Kind.KILL_GATEWAY: 4,
    Kind.KILL_REDIS: 4,
    Kind.TERM_WORKER: 4,
    Kind.STOP_WORKER: 4,
    Kind.STOP_REDIS: 3,
    Kind.CUT: 4,
    Kind.SLOW: 2,
    Kind.HALF_OPEN: 4,
    Kind.LOST_REPLIES: 3,
    Kind.PROVIDER_ERROR: 2,
    Kind.PROVIDER_HANG: 2,
    Kind.PROVIDER_DRIP: 2,
    Kind.PROVIDER_BROKEN: 2,
    Kind.POISON: 1,  # which ends eight processes, and six of those have to load everything first
}
"""Dealt from until it is empty, then shuffled anew: every kind strikes in each stretch of so many faults."""


@dataclass(frozen=True, slots=True)
class Fault:
    number: int
    """From 1."""
    kind: Kind
    target: float
    """From 0 to 1: which of the processes that could be struck."""
    strength: float
    """From 0 to 1: how long a stop, how slow a connection, how many calls."""

    def choose(self, count: int) -> int:
        """An index below `count`."""
        return min(int(self.target * count), count - 1)

    def between(self, low: float, high: float) -> float:
        return low + self.strength * (high - low)


class Schedule:
    """Faults without end; the n-th of a seed is always the same one."""

    def __init__(self, seed: int, *, without: Collection[Kind] = ()) -> None:
        self._without = without
        self._dice = random.Random(f"faults {seed}")
        self._deck: list[Kind] = []
        self._dealt = 0

    def next(self) -> Fault:
        if not self._deck:
            self._deck = [kind for kind, copies in DECK.items() for _ in range(copies)]
            self._deck = [kind for kind in self._deck if kind not in self._without]
            self._dice.shuffle(self._deck)
        self._dealt += 1
        return Fault(self._dealt, self._deck.pop(), self._dice.random(), self._dice.random())
