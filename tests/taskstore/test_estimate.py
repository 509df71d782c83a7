"""Estimates, worked out by hand: every duration in them is a round number."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from core_config import ModelConfig
from taskstore.estimate import ENOUGH, Outlook, ms_left
from taskstore.events import moment
from taskstore.records import TaskRecord

NOW = moment("1700000000000")
SECOND = Outlook(now=NOW, slots=10, extra=1, runs=[1_000] * ENOUGH)
"""Ten slots, and runs of a second each."""
M = ModelConfig(litellm_id="openai/m")
FULL = {"M": 10}


def task(index: str = "ready:M:b", status: str = "pending", **fields: Any) -> TaskRecord:
    stored = {
        "caller": "alice", "message": "x", "model": "M", "agent": "default", "kind": "b", "priority": "5", "fence": "0",
        "attempt": "0", "retries": "0", "crashes": "0", "created_at": "1699999999000", "status": status, "at": index,
    }  # fmt: skip
    return TaskRecord.of("t1", {**stored, **{name: str(value) for name, value in fields.items()}}, None)


def running_for(ms: int, **fields: Any) -> TaskRecord:
    return task("leases:M:b", "running", started_at=1_700_000_000_000 - ms, **fields)


def left(one: TaskRecord, model: dict[str, Any] | None = None, others: Any = None, **seen: Any) -> float | None:
    """With these limits of its model M, and these of others."""
    registry = {"M": M.model_copy(update=model or {})} | {
        name: M.model_copy(update=limits) for name, limits in (others or {}).items()
    }
    return ms_left(one, replace(SECOND, **seen), registry)


def test_with_a_free_slot_it_takes_as_long_as_a_run() -> None:
    assert left(task()) == 1_000
    assert left(task(), runs=[1_000, 2_000, 3_000, 4_000, 40_000]) == 10_000
    assert left(task(), running={"M": 4, "N": 5}) == 1_000
    assert left(task(), running={"M": 4, "N": 4}, ahead={"M": 1}) == 1_000


@pytest.mark.parametrize(("ahead", "ms"), [(0, 1_100), (9, 2_000), (99, 11_000), (99_999, 10_001_000)])
def test_with_none_free_it_waits_for_one_and_for_those_before_it(ahead: int, ms: float) -> None:
    assert left(task(), ahead={"M": ahead}, running=FULL) == ms
    assert left(task(), ahead={"M": ahead - ahead // 2, "N": ahead // 2}, running=FULL) == ms, "of whatever model"


def test_interactive_tasks_have_slots_beyond() -> None:
    assert left(task("ready:M:i", kind="i"), running=FULL) == 1_000
    assert left(task("ready:M:i", kind="i"), running={"M": 11}) == pytest.approx(1_000 + 1_000 / 11)


def test_a_model_s_limit_counts_its_own_tasks_only() -> None:
    two = {"max_concurrency": 2}
    assert left(task(), two) == 1_000
    assert left(task(), two, running={"M": 1}) == 1_000
    assert left(task(), two, running={"M": 2}) == 1_500
    assert left(task(), two, running={"M": 2}, ahead={"M": 9}) == 6_000
    assert left(task(), two, running={"N": 7}, ahead={"N": 1}) == 1_000


def test_requests_a_minute_are_waited_for() -> None:
    a_second = {"rpm": 60}
    assert left(task(), a_second) == 1_000, "no bucket was begun"
    assert left(task(), a_second, requests=1.0) == 1_000
    assert left(task(), a_second, requests=-3.5) == 4_500 + 1_000
    assert left(task(), a_second, requests=0.0, ahead={"M": 9, "N": 3}) == 10_000 + 1_000
    assert left(task(), requests=-3.5) == 1_000, "the registry says that there is no limit any more"


def test_a_cooldown_comes_before_everything_of_its_model() -> None:
    cooling = {"M": 30_000}
    assert left(task(), cooling=cooling) == 31_000
    assert left(task(), {"max_concurrency": 1}, cooling=cooling, ahead={"M": 4}, running={"M": 1}) == 36_000
    assert left(task(), {"cooldown": False}, cooling=cooling) == 1_000
    assert left(task(), {"fallbacks": ("N",)}, cooling=cooling) is None, "nobody knows which will take it"
    assert left(task(), {"fallbacks": ("N",)}) == 1_000


def test_a_flood_of_another_model_takes_no_more_slots_than_it_may() -> None:
    flood = {"ahead": {"N": 10_000}, "running": {"M": 8, "N": 2}}
    assert left(task(), **flood) == 1_000_100 + 1_000
    # until then N may begin two a second, so it waits for the first slot that N does not take
    assert left(task(), others={"N": {"max_concurrency": 2}}, **flood) == pytest.approx(1_000 + 125, abs=2)
    assert left(task(), others={"N": {}}, cooling={"N": 60_000}, **flood) == 1_100
    assert left(task(), others={"N": {"cooldown": False}}, cooling={"N": 60_000}, **flood) == 1_001_100
    slow = {"N": {"rpm": 10}}
    assert left(task(), others=slow, **flood) == pytest.approx(1_200, abs=5), (
        "one request is left, or it would be 1,100"
    )


@pytest.mark.parametrize(("due", "ahead", "ms"), [(60_000, 0, 61_000), (60_000, 99, 61_000), (500, 99, 11_000)])
def test_what_is_due_later_waits_for_that_or_for_the_queue(due: int, ahead: int, ms: float) -> None:
    for status in ("pending", "retrying"):
        assert left(task("scheduled", status), due_ms=due, ahead={"M": ahead}, running=FULL) == ms


def test_of_a_running_task_it_is_what_longer_runs_took_more() -> None:
    runs = [1_000, 2_000, 3_000, 4_000, 5_000]
    assert left(running_for(0), runs=runs) == 3_000
    assert left(running_for(1_000), runs=runs) == 2_500
    assert left(running_for(4_500), runs=runs) == 500
    assert left(running_for(5_000), runs=runs) is None, "none that was measured took so long"
    assert left(running_for(9_000, cancel_at=1), runs=runs) == 0
    assert left(running_for(-300), runs=runs) == 3_300, "its record is of a moment later"


def test_nothing_is_known_with_too_few_runs_or_nobody_to_run_it() -> None:
    for one in (task(), running_for(10), task("scheduled")):
        assert left(one, runs=[1_000] * (ENOUGH - 1)) is None
        assert left(one, slots=0) is None
        assert left(one) is not None


@pytest.mark.parametrize(
    "one",
    [task("blocked:alice:s"), task("waiting", "waiting"), task("ready:quarantine", crashes=2)],
    ids=["blocked", "waiting", "quarantine"],
)
def test_nothing_is_known_of_what_waits_for_something_else(one: TaskRecord) -> None:
    assert left(one) is None


def test_nothing_is_known_of_the_final_the_paused_and_the_unknown() -> None:
    assert ms_left(task("", "success"), None, {"M": M}) is None
    assert left(task(), paused=True) is None
    assert ms_left(task(), SECOND, {}) is None


def test_a_deadline_ends_it_before() -> None:
    at = int((NOW + timedelta(milliseconds=300)).timestamp() * 1000)
    assert left(task(deadline_at=at)) == 300
    assert left(running_for(0, deadline_at=at)) == 300
    assert left(task(deadline_at=at), due_ms=60_000) == 300
    assert left(task(deadline_at=at - 400)) == 0, "never negative"
    assert left(task(deadline_at=at), slots=0) is None
