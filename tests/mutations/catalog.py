"""What a copy of the project is changed in, to see that its tests turn red: a safeguard taken out, one at a time.

Each is a small edit of the real text, and applies or fails: an edit that no longer finds its place proves nothing.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core_config import ROOT


@dataclass(frozen=True, slots=True)
class Edit:
    path: str
    old: str
    """Stands in the file exactly once."""
    new: str


@dataclass(frozen=True, slots=True)
class Mutation:
    name: str
    edits: tuple[Edit, ...]
    seen_by: tuple[str, ...]
    """Ordinary tests, of those that take a moment, each of which fails on a copy with these edits."""
    unharmed: str
    """An ordinary test beside them that passes all the same: the copy works but for what was taken out."""


_FENCED = "if r and r.status == 'running' and r.fence == fence then"
_UNFENCED = "if r and r.status == 'running' then"

FENCE = Mutation(
    "fence",
    (
        Edit("taskstore/scripts/settle.lua", _FENCED, _UNFENCED),
        Edit("taskstore/scripts/step.lua", _FENCED, _UNFENCED),
    ),
    (
        "tests/taskstore/test_forbidden.py::test_a_settle_with_another_fence_writes_nothing",
        "tests/taskstore/test_steps.py::test_steps_with_another_fence_are_refused",
        "tests/taskstore/test_progress.py::test_only_the_fence_of_the_claim_may_write",
    ),
    "tests/taskstore/test_steps.py::test_steps_that_are_sent_again_are_not_written_again",
)

_SELF_FENCING = "if now - renewed > self._settings.lease_seconds"
_LOST = "r.status ~= 'running' or r.fence ~= fence then"

OWNERSHIP = (
    *(Edit(edit.path, edit.old, "if r then") for edit in FENCE.edits),
    Edit("taskstore/scripts/renew.lua", _LOST, "r.status ~= 'running' then"),
    Edit("worker/keeper.py", _SELF_FENCING, "if False"),
)
"""The fence and the three guards beside it: a task that is final takes no more, a renewal tells a worker what it has
lost, and a worker without one for a lease ends its runs by itself. Any of them keeps an old owner from doing harm in
nearly every run, so the chaos kit sees the fence alone go only with luck, and all of them for certain.
"""

HEARTBEAT = Mutation(
    "heartbeat",
    (Edit("worker/keeper.py", "store.renew(self._worker, held.items())", "store.renew(self._worker, [])"),),
    ("tests/worker/test_keeper.py::test_a_task_that_is_held_keeps_its_lease_and_one_that_was_dropped_does_not",),
    "tests/worker/test_executor.py::test_an_attempt_that_is_stopped_is_settled_by_why_it_was",
)

REAPER = Mutation(
    "reaper",
    (Edit("taskstore/scripts/sweep.lua", "  after_loss(id, r, free)\n", ""),),
    (
        "tests/taskstore/test_sweep.py::test_a_busy_worker_that_dies_is_charged_although_it_had_just_claimed",
        "tests/taskstore/test_sweep.py::test_a_worker_known_to_be_dead_is_not_spared_by_a_gap",
    ),
    "tests/taskstore/test_sweep.py::test_a_dead_workers_sweep_leaves_other_workers_tasks",
)

CANCELLED_ERROR = Mutation(
    "CancelledError",
    (Edit("worker/executor.py", "if run.done() and not run.cancelled():", "if run.done():"),),
    (
        "tests/worker/test_executor.py::test_an_attempt_that_is_stopped_is_settled_by_why_it_was",
        "tests/worker/test_executor.py::test_an_attempt_that_runs_into_its_time_is_settled",
        "tests/worker/test_executor.py::test_a_run_that_cancels_itself_is_a_failure",
    ),
    "tests/worker/test_executor.py::test_an_attempt_whose_lease_is_lost_settles_nothing",
)

MUTATIONS = (FENCE, HEARTBEAT, REAPER, CANCELLED_ERROR)


def copy_of_the_project(folder: Path, edits: Sequence[Edit]) -> Path:
    """A copy in `folder` of all that runs and tests it, edited. AssertionError when an edit finds no place."""
    for path in ROOT.iterdir():
        if (path / "__init__.py").exists():
            # with the compiled files, which are taken as long as their source is the same
            shutil.copytree(path, folder / path.name)
        elif path.suffix in {".py", ".toml"}:
            shutil.copy2(path, folder / path.name)
    for edit in edits:
        file = folder / edit.path
        text = file.read_text(encoding="utf-8")
        assert text.count(edit.old) == 1, f"{edit.path} holds {edit.old!r} {text.count(edit.old)} times, not once"
        file.write_text(text.replace(edit.old, edit.new), encoding="utf-8")
    return folder
