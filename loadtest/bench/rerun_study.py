"""How long a task lies that was running in a worker when that was killed: two workers, default settings."""

import asyncio
import os
import signal
import time
from typing import Final

from loadtest.bench.entrants import PEERS, Entrant, LonghaulEntrant, contender
from loadtest.bench.stage import BenchError, Stage
from loadtest.bench.study import Contender, Findings, Found, Goal, Row, Study

QUICK_S, LONG_S = 20.0, 120.0
_TASK_S = 3600.0
_START_S = 20.0
_TASK = 1

UNMANAGED: Final = "Longhaul-unmanaged"

ROWS: Final = (
    Row(
        "rerun", "rerun after kill -9 of a worker, of two", "s", "lower",
        (Goal("<=", 6),),
        subject=UNMANAGED,
        measured_by=f"From the kill to the task's second start. Given up after {QUICK_S:g} s; --long: {LONG_S:g} s.",
    ),
    Row(
        "rerun_managed", "the same under manage.py", "s", "lower",
        (Goal("<=", 1),),
        measured_by="As above; the supervisor tells the store that the worker has died.",
    ),
)  # fmt: skip


async def _measure(stage: Stage, entrant: Entrant | LonghaulEntrant) -> Found:
    race = await entrant.enter(stage, workers=2)
    await race.ask("submit", first=_TASK, count=1, seconds=_TASK_S)
    until = time.monotonic() + _START_S
    while not (runs := race.marks.of(_TASK)):
        if time.monotonic() > until:
            raise BenchError(f"the task did not start within {_START_S:g} s")
        await asyncio.sleep(0.02)
    killed = time.monotonic_ns()
    os.kill(runs[0].pid, signal.SIGKILL)
    bound = LONG_S if stage.long else QUICK_S
    while len(runs := race.marks.of(_TASK)) < 2:
        if time.monotonic_ns() > killed + bound * 1e9:
            return Found(bound, at_least=True)
        await asyncio.sleep(0.01)
    return Found((runs[1].began - killed) / 1e9)


def _contender(entrant: Entrant | LonghaulEntrant, row: str) -> Contender:
    async def measured(stage: Stage) -> Findings:
        return {row: await _measure(stage, entrant)}

    return contender(entrant, measured)


RERUN: Final = Study(
    "rerun",
    ROWS,
    (
        _contender(LonghaulEntrant(), "rerun_managed"),
        _contender(LonghaulEntrant(UNMANAGED, supervised=False), "rerun"),
        *(_contender(peer, "rerun") for peer in PEERS),
    ),
    seconds=300,
    most_rounds=1,
)
