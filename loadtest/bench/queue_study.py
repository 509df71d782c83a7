"""The queue's rows that one started worker shows: submitting, picking up, round trips, no-op tasks a second."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import psutil

from loadtest.bench.entrants import FLOOR, PEERS, Entrant, LonghaulEntrant, Race, contender
from loadtest.bench.peers.marks import Mark
from loadtest.bench.round_trips import RoundTrips
from loadtest.bench.stage import Stage
from loadtest.bench.study import BEST_PEER, Contender, Findings, Goal, Row, Study

CONCURRENCY: Final = 50
SUBMIT_AT_ONCE: Final = 20
_DRAIN_S = 30.0


@dataclass(frozen=True)
class Amounts:
    """How much of each a visit does: what takes some seconds in all, and for the tests less.

    Of `pick_ups` it does fewer when they take longer than `pick_ups_s`.
    """

    in_sequence: int = 400
    backlog: int | None = None
    """None: the entrant's own."""
    pick_ups: int = 150
    pick_ups_s: float = 2.5
    pause_s: float = 0.005
    steady: int = 500
    steady_every_s: float = 0.004
    quiet_s: float = 1.5


FULL: Final = Amounts()

ROWS: Final = (
    Row(
        "submit", "submit in sequence", "a second", "higher",
        (Goal(">=", 2.5, "arq"),),
        measured_by=f"One client submits {FULL.in_sequence} tasks, one after another; workers stand still.",
    ),
    Row(
        "submit_trips", "submit: round trips", "a task", "lower",
        (Goal("<=", 1.01),), counted=True,
        measured_by="Redis's read events meanwhile.",
    ),
    Row(
        "pickup_p50", "pick-up by an idle worker, median", "ms", "lower",
        (Goal("<=", 1.0, BEST_PEER),),
        measured_by="From before the submit until the task's first statement; one at a time, 5 ms apart.",
    ),
    Row(
        "pickup_p99", "pick-up by an idle worker, p99", "ms", "lower",
        (Goal("<=", 1.0, BEST_PEER),),
        measured_by=f"As above: of at most {FULL.pick_ups} tasks, or as many as are done in {FULL.pick_ups_s:g} s.",
    ),
    Row(
        "trips_clock", "nothing to do: round trips", "a second", "lower", counted=True,
        measured_by=f"Redis's read events of {FULL.quiet_s:g} s in which nothing is submitted.",
    ),
    Row(
        "trips_idle", "taking and finishing, idle: round trips", "a task", "lower",
        (Goal("<=", 3),), counted=True,
        measured_by="Redis's read events meanwhile, less those of the submits and of nothing to do.",
    ),
    Row(
        "trips_steady", "taking and finishing, steady: round trips", "a task", "lower",
        (Goal("<=", 2),), counted=True,
        measured_by=f"The same at {1 / FULL.steady_every_s:.0f} tasks a second, evenly.",
    ),
    Row(
        "trips_backlog", "taking and finishing, backlog: round trips", "a task", "lower",
        (Goal("<=", 0.2),), counted=True,
        measured_by="The same while thousands of waiting tasks are worked off.",
    ),
    Row(
        "noop", f"no-op tasks, concurrency {CONCURRENCY}", "a second", "higher",
        (Goal(">=", 3, "dramatiq"), Goal(">=", 10, "arq")),
        measured_by="From the first one's start to the last one's end, while that backlog is worked off.",
    ),
    Row(
        "noop_cpu", "no-op task: worker's processor time", "ms", "lower",
        measured_by="Of the worker process and its children, meanwhile.",
    ),
    Row(
        "noop_redis", "no-op task: Redis's processor time", "ms", "lower",
        measured_by="The same of redis-server.",
    ),
)  # fmt: skip


async def measure(stage: Stage, entrant: Entrant | LonghaulEntrant, amounts: Amounts = FULL) -> dict[str, float]:
    race, backlog = await entrant.enter(stage, CONCURRENCY), amounts.backlog or entrant.backlog
    visit = Visit(amounts, race, RoundTrips(stage), psutil.Process(stage.redis_pid))
    await visit.trips.watch_the_clock(amounts.quiet_s)
    race.pause()
    found = await visit.submit(1, amounts.in_sequence)
    to_submit = found["submit_trips"]
    rest = backlog - amounts.in_sequence
    await race.ask("submit", first=1 + amounts.in_sequence, count=rest, at_once=SUBMIT_AT_ONCE)
    found |= await visit.work_off(backlog)
    found |= await visit.idle(1 + backlog, to_submit)
    found |= await visit.steady(1 + backlog + amounts.pick_ups, to_submit)
    return {**found, "trips_clock": visit.trips.by_the_clock}


class Visit:
    """To one worker that has room for `CONCURRENCY` tasks."""

    def __init__(self, amounts: Amounts, race: Race, trips: RoundTrips, redis: psutil.Process) -> None:
        self._amounts, self._race, self.trips, self._redis = amounts, race, trips, redis

    async def submit(self, first: int, count: int) -> dict[str, float]:
        async with self.trips.counted(clock=False) as asked:
            took = await self._race.ask("submit", first=first, count=count)
        return {"submit": count / took["seconds"], "submit_trips": asked.trips / count}

    async def work_off(self, count: int) -> dict[str, float]:
        """The tasks from 1 on, which wait while the worker stands still."""
        worker_s, redis_s = self._race.cpu_seconds(), self._redis_seconds()
        async with self.trips.counted() as asked:
            self._race.go()
            await self._race.all_ended(1, count, _DRAIN_S)
        return {
            "noop": rate(self._race.marks.all(), count),
            "noop_cpu": 1000 * (self._race.cpu_seconds() - worker_s) / count,
            "noop_redis": 1000 * (self._redis_seconds() - redis_s) / count,
            "trips_backlog": asked.trips / count,
        }

    async def idle(self, first: int, to_submit: float) -> dict[str, float]:
        most = self._amounts
        async with self.trips.counted() as asked:
            answer = await self._race.ask(
                "pick_up", first=first, count=most.pick_ups, most_s=most.pick_ups_s, pause_s=most.pause_s
            )
        waits: list[float] = answer["ms"]
        return {
            "pickup_p50": statistics.median(waits),
            "pickup_p99": statistics.quantiles(waits, n=100, method="inclusive")[98],
            "trips_idle": asked.trips / len(waits) - to_submit,
        }

    async def steady(self, first: int, to_submit: float) -> dict[str, float]:
        count = self._amounts.steady
        async with self.trips.counted() as asked:
            await self._race.ask("steady", first=first, count=count, every_s=self._amounts.steady_every_s)
            await self._race.all_ended(first, count, _DRAIN_S)
        return {"trips_steady": asked.trips / count - to_submit}

    def _redis_seconds(self) -> float:
        return sum(self._redis.cpu_times()[:2])


def rate(marks: Sequence[Mark], tasks: int) -> float:
    """Tasks a second, from the first one's start to the last one's end, without the warm-up."""
    runs = [mark for mark in marks if 1 <= mark.number <= tasks]
    return 1e9 * len(runs) / (max(mark.ended for mark in runs) - min(mark.began for mark in runs))


def _contender(entrant: Entrant | LonghaulEntrant) -> Contender:
    async def measured(stage: Stage) -> Findings:
        return await measure(stage, entrant)

    return contender(entrant, measured)


QUEUE: Final = Study("queue", ROWS, tuple(_contender(one) for one in (LonghaulEntrant(), *PEERS, FLOOR)), seconds=180)
