"""The queue's rows that one started worker shows: submitting, picking up, round trips, no-op tasks a second."""

import statistics
from collections.abc import Sequence
from typing import Final

import psutil

from loadtest.bench.entrants import FLOOR, PEERS, Entrant, LonghaulEntrant, Race
from loadtest.bench.peers.marks import Mark
from loadtest.bench.round_trips import RoundTrips
from loadtest.bench.stage import Stage
from loadtest.bench.study import BEST_PEER, Contender, Findings, Goal, Row, Study

CONCURRENCY: Final = 50
IN_SEQUENCE: Final = 400
PICK_UPS, PICK_UPS_MOST_S, PAUSE_S = 150, 2.5, 0.005
STEADY, STEADY_EVERY_S = 500, 0.004
QUIET_S: Final = 1.5
_DRAIN_S = 30.0

ROWS: Final = (
    Row(
        "submit", "submit in sequence", "a second", "higher",
        (Goal(">=", 2.5, "arq"),),
        measured_by=f"One client submits {IN_SEQUENCE} tasks, each after the answer to the last; workers stand still.",
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
        measured_by=f"As above: of at most {PICK_UPS} tasks, or as many as are done in {PICK_UPS_MOST_S:g} s.",
    ),
    Row(
        "trips_clock", "nothing to do: round trips", "a second", "lower", counted=True,
        measured_by=f"Redis's read events of {QUIET_S:g} s in which nothing is submitted.",
    ),
    Row(
        "trips_idle", "taking and finishing, idle: round trips", "a task", "lower",
        (Goal("<=", 3),), counted=True,
        measured_by="Redis's read events meanwhile, less those of the submits and of nothing to do.",
    ),
    Row(
        "trips_steady", "taking and finishing, steady: round trips", "a task", "lower",
        (Goal("<=", 2),), counted=True,
        measured_by=f"The same at {1 / STEADY_EVERY_S:.0f} tasks a second, evenly.",
    ),
    Row(
        "trips_backlog", "taking and finishing, backlog: round trips", "a task", "lower",
        (Goal("<=", 0.2),), counted=True,
        measured_by="The same while thousands of waiting tasks are worked off.",
    ),
    Row(
        "noop", f"no-op tasks, concurrency {CONCURRENCY}", "a second", "higher",
        (Goal(">=", 3, "dramatiq"), Goal(">=", 10, "arq"), Goal(">=", 1.5, "BullMQ")),
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


async def measure(stage: Stage, entrant: Entrant | LonghaulEntrant) -> Findings:
    race, backlog = await entrant.enter(stage, CONCURRENCY), entrant.backlog
    visit = Visit(race, RoundTrips(stage), psutil.Process(stage.redis_pid))
    await visit.trips.watch_the_clock(QUIET_S)
    race.pause()
    found = await visit.submit(1, IN_SEQUENCE)
    to_submit = found["submit_trips"]
    await race.ask("submit", first=1 + IN_SEQUENCE, count=backlog - IN_SEQUENCE, at_once=20)
    found |= await visit.work_off(backlog)
    found |= await visit.idle(1 + backlog, to_submit)
    found |= await visit.steady(1 + backlog + PICK_UPS, to_submit)
    return {**found, "trips_clock": visit.trips.by_the_clock}


class Visit:
    """To one worker that has room for `CONCURRENCY` tasks."""

    def __init__(self, race: Race, trips: RoundTrips, redis: psutil.Process) -> None:
        self._race, self.trips, self._redis = race, trips, redis

    async def submit(self, first: int, count: int) -> dict[str, float]:
        async with self.trips.counted() as asked:
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
        async with self.trips.counted() as asked:
            answer = await self._race.ask(
                "pick_up", first=first, count=PICK_UPS, most_s=PICK_UPS_MOST_S, pause_s=PAUSE_S
            )
        waits: list[float] = answer["ms"]
        return {
            "pickup_p50": statistics.median(waits),
            "pickup_p99": statistics.quantiles(waits, n=100, method="inclusive")[98],
            "trips_idle": asked.trips / len(waits) - to_submit,
        }

    async def steady(self, first: int, to_submit: float) -> dict[str, float]:
        async with self.trips.counted() as asked:
            await self._race.ask("steady", first=first, count=STEADY, every_s=STEADY_EVERY_S)
            await self._race.all_ended(first, STEADY, _DRAIN_S)
        return {"trips_steady": asked.trips / STEADY - to_submit}

    def _redis_seconds(self) -> float:
        return sum(self._redis.cpu_times()[:2])


def rate(marks: Sequence[Mark], tasks: int) -> float:
    """Tasks a second, from the first one's start to the last one's end, without the warm-up."""
    runs = [mark for mark in marks if 1 <= mark.number <= tasks]
    return 1e9 * len(runs) / (max(mark.ended for mark in runs) - min(mark.began for mark in runs))


def contender(entrant: Entrant | LonghaulEntrant) -> Contender:
    async def measured(stage: Stage) -> Findings:
        return await measure(stage, entrant)

    return Contender(entrant.name, measured, entrant.kind)


QUEUE: Final = Study(
    "queue",
    ROWS,
    tuple(contender(entrant) for entrant in (LonghaulEntrant(), *PEERS, FLOOR)),
    seconds=60,
    peers_environment=True,
)
