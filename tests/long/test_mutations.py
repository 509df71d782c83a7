"""The chaos kit on copies of the project with a safeguard taken out: its verdict must be that something is wrong.

That ordinary tests see it too, and much sooner, is in tests/mutations.
"""

from pathlib import Path

import pytest

from tests.long.chaos_runs import FEW, NO_FAULTS, SEED, WRONG, chaos_run
from tests.long.report import Report
from tests.mutations.catalog import HEARTBEAT, OWNERSHIP, REAPER, copy_of_the_project

SEEN = {
    # as good as all end in the tool: whose outcome nobody knows when their lease ends
    "heartbeat": (HEARTBEAT.edits, NO_FAULTS, {"model calls repeated without a fault", "good tasks failed by a fault"}),
    "reaper": (REAPER.edits, SEED, {"tasks without a final status"}),
    "fence, and the guards beside it": (
        OWNERSHIP,
        SEED,
        {"tasks with two final events", "final records changed", "non-idempotent tools run twice"},
    ),
}


@pytest.mark.parametrize("what", SEEN)
def test_without_it_the_kit_finds_something_wrong(what: str, tmp_path: Path, report: Report):
    edits, faults, names = SEEN[what]
    run = chaos_run(*FEW, *faults, copy=copy_of_the_project(tmp_path, edits))
    found = names & run.wrongs.keys()
    report(f"without the {what}: wrong", " or ".join(sorted(names)), run.named(), met=bool(found))
    assert run.code == WRONG, run.said
    assert found, run.said
