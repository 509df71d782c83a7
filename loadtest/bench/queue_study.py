"""The queue's rows that one started worker shows: submitting, picking up, round trips, no-op tasks a second."""

import statistics
from collections.abc import Sequence
from typing import Final

import psutil

from loadtest.bench.entrants import FLOOR, PEERS, Entrant, LonghaulEntrant, Race
from loadtest.bench.peers.marks import Mark
from loadtest.bench.stage import Stage
from loadtest.bench.study import BEST_PEER, Contender, Findings, Goal, Row, Study

CONCURRENCY: Final = 50
IN_SEQUENCE: Final = 400
PICK_UPS, PICK_UPS_MOST_S, PAUSE_S = 150, 2.5, 0.005
STEADY, STEADY_EVERY_S = 500, 0.004
BACKLOG: Final = 3000
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
        "trips_idle", "taking and finishing, idle: round trips", "a task", "lower",
        (Goal("<=", 3),), counted=True,
        measured_by="Redis's read events while that happens, less the submits'; what runs by the clock is in.",
    ),
    Row(
        "trips_steady", "taking and finishing, steady: round trips", "a task", "lower",
        (Goal("<=", 2),), counted=True,
        measured_by=f"The same at {1 / STEADY_EVERY_S:.0f} tasks a second, evenly.",
    ),
    Row(
        "trips_backlog", "taking and finishing, backlog: round trips", "a task", "lower",
        (Goal("<=", 0.2),), counted=True,
        measured_by=f"The same while {BACKLOG} waiting tasks are worked off.",
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
    race = await entrant.enter(stage, CONCURRENCY)
    found: dict[str, float] = {}
    race.pause()
    trips, found["submit"] = await _submit(stage, race, 1)
    found["submit_trips"] = trips
    backlog = 1 + IN_SEQUENCE
    await race.ask("submit", first=backlog, count=BACKLOG - IN_SEQUENCE, at_once=20)
    await _work_off(stage, race, found)
    picked = await _idle(stage, race, backlog + BACKLOG, trips)
    found |= picked
    found["trips_steady"] = await _steady(stage, race, backlog + BACKLOG + PICK_UPS, trips)
    return found


async def _submit(stage: Stage, race: Race, first: int) -> tuple[float, float]:
    """Round trips of a submit, and how many a second."""
    before = await stage.reads()
    took = await race.ask("submit", first=first, count=IN_SEQUENCE)
    reads = await stage.reads() - before - 1
    return reads / IN_SEQUENCE, IN_SEQUENCE / took["seconds"]


async def _work_off(stage: Stage, race: Race, found: dict[str, float]) -> None:
    redis = psutil.Process(stage.redis_pid)
    reads, worker_s, redis_s = await stage.reads(), race.cpu_seconds(), sum(redis.cpu_times()[:2])
    race.go()
    await race.all_ended(1, BACKLOG, _DRAIN_S)
    reads = await stage.reads() - reads - 1
    found["noop_cpu"] = 1000 * (race.cpu_seconds() - worker_s) / BACKLOG
    found["noop_redis"] = 1000 * (sum(redis.cpu_times()[:2]) - redis_s) / BACKLOG
    found["trips_backlog"] = reads / BACKLOG
    found["noop"] = rate(race.marks.all(), BACKLOG)


def rate(marks: Sequence[Mark], tasks: int) -> float:
    """Tasks a second, from the first one's start to the last one's end, without the warm-up."""
    runs = [mark for mark in marks if 1 <= mark.number <= tasks]
    return 1e9 * len(runs) / (max(mark.ended for mark in runs) - min(mark.began for mark in runs))


async def _idle(stage: Stage, race: Race, first: int, trips_to_submit: float) -> dict[str, float]:
    before = await stage.reads()
    answer = await race.ask("pick_up", first=first, count=PICK_UPS, most_s=PICK_UPS_MOST_S, pause_s=PAUSE_S)
    reads = await stage.reads() - before - 1
    waits: list[float] = answer["ms"]
    return {
        "pickup_p50": statistics.median(waits),
        "pickup_p99": statistics.quantiles(waits, n=100, method="inclusive")[98],
        "trips_idle": reads / len(waits) - trips_to_submit,
    }


async def _steady(stage: Stage, race: Race, first: int, trips_to_submit: float) -> float:
    before = await stage.reads()
    await race.ask("steady", first=first, count=STEADY, every_s=STEADY_EVERY_S)
    await race.all_ended(first, STEADY, _DRAIN_S)
    return (await stage.reads() - before - 1) / STEADY - trips_to_submit


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
