"""The queue's rows on real queues, in small: the floor, stock arq, and Longhaul's own worker.

What is counted is compared exactly where it is exact; no time is judged.
"""

from dataclasses import replace

import pytest

from loadtest.bench.entrants import FLOOR, PEERS, LonghaulEntrant
from loadtest.bench.peers.marks import Mark
from loadtest.bench.queue_study import FULL, ROWS, measure, rate

SMALL = replace(FULL, in_sequence=40, backlog=200, pick_ups=5, pick_ups_s=30, steady=50, quiet_s=0.5)
ARQ = next(peer for peer in PEERS if peer.name == "arq")
WITHOUT_SUPERVISOR = LonghaulEntrant(supervised=False)


def test_a_rate_is_from_the_first_start_to_the_last_end():
    marks = [Mark(0, 0, 10, 1), Mark(1, 1_000_000_000, 1_100_000_000, 1), Mark(2, 1_200_000_000, 1_500_000_000, 2)]
    assert rate(marks, 2) == 4.0


@pytest.mark.parametrize(
    ("entrant", "to_submit", "backlog"),
    [(FLOOR, 1, (0.9, 1.5)), (ARQ, 3, (4, 10)), (WITHOUT_SUPERVISOR, 1, (0, 0.9))],
    ids=["floor", "arq", "longhaul"],
)
async def test_a_visit_answers_for_every_row(stages, entrant, to_submit, backlog):
    async with stages.stage() as stage:
        found = await measure(stage, entrant, SMALL)
    assert found.keys() == {row.key for row in ROWS}
    assert round(found["submit_trips"], 1) == to_submit
    low, high = backlog
    assert low <= found["trips_backlog"] <= high
    assert found["trips_idle"] >= 1 - 0.3  # of which the clock's share was taken off
    assert found["pickup_p50"] <= found["pickup_p99"]
    assert all(found[row] > 0 for row in ("submit", "noop", "noop_cpu", "pickup_p50"))
