"""How near a worker comes to its slots: many sleeping tasks at once, and short ones on few slots."""

from typing import Final

from loadtest.bench.entrants import PEERS, Entrant, LonghaulEntrant, contender
from loadtest.bench.peers.marks import Mark
from loadtest.bench.queue_study import rate
from loadtest.bench.stage import BenchError, Stage
from loadtest.bench.study import BEST_PEER, Contender, Findings, Goal, Row, Study

WIDE, WIDE_S = 2000, 2.0
SLOTS, SHORT, SHORT_S = 10, 200, 0.1
_SUBMIT_AT_ONCE = 20

WIDE_ROW: Final = Row(
    "wide", f"{WIDE:,} tasks of {WIDE_S:g} s in one worker", "s", "lower",
    (Goal("<=", 2.3), Goal("<=", 1.0, BEST_PEER)),
    measured_by="First start to last end, of tasks that all wait; the worker has room for each.",
)  # fmt: skip
SLOTS_ROW: Final = Row(
    "slots", f"tasks of {SHORT_S * 1000:.0f} ms on {SLOTS} slots, of {SLOTS / SHORT_S:.0f} possible", "a second",
    "higher",
    (Goal(">=", 97),),
    measured_by=f"First start to last end of {SHORT} tasks that all wait.",
)  # fmt: skip


async def _run(stage: Stage, entrant: Entrant | LonghaulEntrant, slots: int, tasks: int, seconds: float) -> list[Mark]:
    race = await entrant.enter(stage, slots)
    race.pause()
    await race.ask("submit", first=1, count=tasks, seconds=seconds, at_once=_SUBMIT_AT_ONCE)
    race.go()
    await race.all_ended(1, tasks, 30 + 4 * seconds * tasks / slots)
    marks = [mark for mark in race.marks.all() if mark.number]
    if len(marks) != tasks:
        raise BenchError(f"{len(marks)} runs of {tasks} tasks")
    return marks


def _wide(entrant: Entrant | LonghaulEntrant) -> Contender:
    async def measured(stage: Stage) -> Findings:
        marks = await _run(stage, entrant, WIDE, WIDE, WIDE_S)
        return {"wide": (max(mark.ended for mark in marks) - min(mark.began for mark in marks)) / 1e9}

    return contender(entrant, measured)


def _slots(entrant: Entrant | LonghaulEntrant) -> Contender:
    async def measured(stage: Stage) -> Findings:
        return {"slots": rate(await _run(stage, entrant, SLOTS, SHORT, SHORT_S), SHORT)}

    return contender(entrant, measured)


_ALL: Final = (LonghaulEntrant(), *PEERS)
WIDE_STUDY: Final = Study("wide", (WIDE_ROW,), tuple(_wide(one) for one in _ALL), seconds=200)
SLOTS_STUDY: Final = Study("slots", (SLOTS_ROW,), tuple(_slots(one) for one in _ALL), seconds=200)
