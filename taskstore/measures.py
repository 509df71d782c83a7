"""What operators' metrics are made of: counts since the beginning, how much stands where now, and how Redis itself is.

All of it in one round trip, whose cost does not grow with the tasks. The counts are kept by the scripts (`tally` in
_prelude.lua), gauges.lua looks at the rest.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .scripts import Scripts
from .unpack import SEPARATOR

LaneName = Literal["interactive", "batch", "quarantine"]
LANES: Mapping[str, LaneName] = {"i": "interactive", "b": "batch", "q": "quarantine"}
WRITES = ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status")


@dataclass(frozen=True, slots=True)
class Lane:
    ready: int = 0
    running: int = 0
    oldest_ms: int = 0
    """How long its first task has been ready; 0 when there is none."""

    def __add__(self, other: "Lane") -> "Lane":
        return Lane(self.ready + other.ready, self.running + other.running, max(self.oldest_ms, other.oldest_ms))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """The queue at one moment."""

    lanes: Mapping[tuple[str, LaneName], Lane]
    """By model and lane, all that were ever used; the quarantine lane's model is ''."""
    scheduled: int
    waiting: int
    dead: int
    sessions_active: int
    """Of those that are remembered: with a task that is not final."""
    sessions_idle: int
    behind: Mapping[str, int]
    """By caller, of those who have tasks or sessions: tasks behind another one of their session."""
    workers: int
    quarantine_workers: int
    slots: int
    paused: Sequence[tuple[str, str]]
    """Kind (`model`, `agent`) and name."""
    cooling: Sequence[str]
    """Models."""

    @classmethod
    def of(cls, answer: Sequence[Any]) -> "Gauges":
        rows, counts, callers, workers, paused, cooling = answer
        lanes: dict[tuple[str, LaneName], Lane] = defaultdict(Lane)
        for model, kind, *numbers in rows:
            lanes[model, LANES[kind]] += Lane(*map(int, numbers))
        scheduled, waiting, dead, sessions, idle = map(int, counts)
        ordinary, alone, slots = map(int, workers)
        return cls(
            lanes=lanes,
            scheduled=scheduled,
            waiting=waiting,
            dead=dead,
            # of a caller from before `callers` counted sessions too, the idle ones may be all that is known
            sessions_active=max(0, sessions - idle),
            sessions_idle=idle,
            behind={caller: int(count) for caller, count in callers},
            workers=ordinary,
            quarantine_workers=alone,
            slots=slots,
            paused=[(kind, name) for kind, _, name in (what.partition(" ") for what in paused)],
            cooling=cooling,
        )


@dataclass(frozen=True, slots=True)
class RedisState:
    memory_used: int
    """Bytes."""
    memory_max: int
    """Bytes; 0 is no limit."""
    persistence_ok: bool


@dataclass(frozen=True, slots=True)
class Measures:
    counts: Mapping[tuple[str, ...], int]
    """By metric and its label values. Money is in billionths of a USD."""
    gauges: Gauges
    redis: RedisState | None
    """None when this user may not ask."""


async def measure(scripts: Scripts, counts_key: str) -> Measures:
    """Raises what `Scripts.run` raises."""
    answer, counts, memory, persistence = await scripts.run_with(
        "gauges", ("HGETALL", counts_key), ("INFO", "memory"), ("INFO", "persistence")
    )
    if isinstance(counts, Exception):
        raise counts
    return Measures(
        {tuple(field.split(SEPARATOR)): int(count) for field, count in counts.items()},
        Gauges.of(answer),
        None if isinstance(memory, Exception) or isinstance(persistence, Exception) else state_of(memory, persistence),
    )


def state_of(memory: Mapping[str, Any], persistence: Mapping[str, Any]) -> RedisState:
    """From two sections of INFO."""
    fine = all(persistence.get(name, "ok") == "ok" for name in WRITES)
    return RedisState(int(memory["used_memory"]), int(memory.get("maxmemory", 0)), fine)
