"""What runs have got done and what it cost: written once and in order, by the fence alone, and kept as long as it is of
use.
"""

import pytest

from taskstore.claims import SettleKind, Settlement
from taskstore.progress import Progress, Spent
from taskstore.records import NewTask, TokenUsage
from taskstore.steps import StepBatch
from taskstore.store import TaskStore

from .state import Contents
from .test_fairness import Worker

BYTES = bytes(range(256))


async def running(store: TaskStore, task_id: str = "t1") -> None:
    await store.submit(NewTask(task_id=task_id, caller="alice", message="x", model="M"))
    assert await Worker(store, f"worker of {task_id}").take(1) == [task_id]


def batch(
    number: int, fields: dict[str, bytes], dropped: list[str] | None = None, spent: Spent | None = None
) -> StepBatch:
    return StepBatch(1, (), Progress(number, fields, dropped or [], spent))


def spent(calls: int, *, cost: float | None = 0.001) -> Spent:
    usage = TokenUsage(100 * calls, 20 * calls, 120 * calls, 5 * calls, 7 * calls)
    return Spent(usage=usage, cost_usd=None if cost is None else cost * calls, answered_by="N", partial=f"text {calls}")


async def test_bytes_come_back_as_they_were_and_a_claim_says_that_there_are_some(audited: TaskStore) -> None:
    await running(audited)
    assert await audited.progress("t1") == {}
    write = batch(1, {"a": BYTES, "b\x1fc": b"", "d": b"1"})
    assert await audited.step([("t1", 1, write), ("t1", 1, batch(2, {"d": b"2"}, ["b\x1fc"]))]) == ["ok", "ok"]
    assert await audited.progress("t1") == {"a": BYTES, "d": b"2"}
    await audited.sweep("worker of t1")
    (claim,) = (await audited.claim("w2", 1, room=1, extra=0, models={"M": None})).tasks
    assert claim.kept


async def test_a_first_claim_has_nothing_to_read(audited: TaskStore) -> None:
    await audited.submit(NewTask(task_id="t1", caller="alice", message="x", model="M"))
    (claim,) = (await audited.claim("w1", 1, room=1, extra=0, models={"M": None})).tasks
    assert not claim.kept


async def test_a_write_that_comes_again_or_late_changes_nothing(audited: TaskStore, contents: Contents) -> None:
    """A write that timed out is sent again, and its first copy may come after the next one."""
    await running(audited)
    first, second = batch(1, {"a": b"1"}, spent=spent(1)), batch(2, {"a": b"2"}, spent=spent(2))
    assert await audited.step([("t1", 1, first), ("t1", 1, second)]) == ["ok", "ok"]
    before = await contents.snapshot()
    assert await audited.step([("t1", 1, first), ("t1", 1, second), ("t1", 1, first)]) == ["ok"] * 3
    await contents.check(before)
    assert await audited.progress("t1") == {"a": b"2"}


@pytest.mark.parametrize("fence", [0, 1, 3])
async def test_only_the_fence_of_the_claim_may_write(audited: TaskStore, contents: Contents, fence: int) -> None:
    await running(audited)
    await audited.sweep("worker of t1")
    assert await Worker(audited, "w2").take(1) == ["t1"]
    before = await contents.snapshot()
    assert await audited.step([("t1", fence, batch(1, {"a": b"1"}, spent=spent(1)))]) == ["lease_lost"]
    await contents.check(before)


async def test_spending_is_charged_as_it_is_kept_and_once(audited: TaskStore) -> None:
    await running(audited)
    await audited.step([("t1", 1, batch(1, {"a": b"1"}, spent=spent(1)))])
    record = await audited.get("t1")
    assert (record.usage, record.cost_usd) == (TokenUsage(100, 20, 120, 5, 7), 0.001)
    assert (record.answered_by, record.partial) == ("N", "text 1")
    # the worker dies; the next attempt spends twice as much, and tells it in two steps and its outcome
    await audited.sweep("worker of t1")
    assert await Worker(audited, "w2").take(1) == ["t1"]
    for number in (1, 2):
        await audited.step([("t1", 2, batch(number, {"a": b"2"}, spent=spent(number)))])
    outcome = Settlement(
        task_id="t1", fence=2, kind="success", result="x", usage=spent(3).usage, cost_usd=0.003, answered_by="N"
    )
    for _ in range(2):
        assert await audited.settle([outcome]) == ["ok"]
    record = await audited.get("t1")
    assert (record.usage, record.cost_usd) == (TokenUsage(400, 80, 480, 20, 28), 0.004)
    (row,) = await audited.usage(by="model", since_days=1)
    assert (row.name, row.tasks, row.total_tokens, row.cost_usd, row.unpriced) == ("N", 1, 480, 0.004, 0)


async def test_a_price_that_becomes_unknown_makes_the_attempt_s_unknown(audited: TaskStore) -> None:
    await running(audited)
    await audited.step([("t1", 1, batch(1, {"a": b"1"}, spent=spent(1)))])
    await audited.step([("t1", 1, batch(2, {"a": b"2"}, spent=spent(2, cost=None)))])
    assert (await audited.get("t1")).cost_usd is None
    (row,) = await audited.usage(by="model", since_days=1)
    assert (row.cost_usd, row.unpriced) == (None, 1)


@pytest.mark.parametrize("kind", ["success", "cancelled"])
async def test_what_will_not_run_again_keeps_nothing(audited: TaskStore, contents: Contents, kind: SettleKind) -> None:
    await running(audited)
    await audited.step([("t1", 1, batch(1, {"a": b"1"}))])
    await audited.settle([Settlement(task_id="t1", fence=1, kind=kind, result="x")])
    assert "steps:t1" not in await contents.snapshot()


async def test_what_failed_can_be_replayed_from_where_it_was(audited: TaskStore, contents: Contents) -> None:
    """With model calls to spare again, and knowing nothing of a call that nobody knows the end of."""
    await running(audited)
    kept = {"checkpoint\x1fx": b"1", "answered": b"9", "steps": b"20", "begun\x1fx": b"1", "tool\x1fy": b"2"}
    last = batch(1, kept)
    await audited.settle([Settlement(task_id="t1", fence=1, kind="bury", error_code="internal", steps=last)])
    found = await contents.snapshot()
    assert found["ttl"]["steps:t1"] == pytest.approx(found["ttl"]["task:t1"], abs=1_000)
    await audited.replay("t1")
    assert "steps:t1" not in (await contents.snapshot())["ttl"]
    assert await audited.progress("t1") == {"checkpoint\x1fx": b"1", "steps": b"20", "tool\x1fy": b"2"}


async def test_the_sweep_forgets_it_with_the_record(audited: TaskStore, contents: Contents) -> None:
    await running(audited)
    await audited.step([("t1", 1, batch(1, {"a": b"1"}))])
    await audited.settle([Settlement(task_id="t1", fence=1, kind="fail")])
    await contents.client.zadd(contents.prefix + "gone", {"t1 alice": await contents.clock() - 100})
    await audited.sweep()
    assert not [key for key in await contents.snapshot() if key.endswith(":t1")]


async def test_the_audit_sees_progress_that_outlives_its_use(store: TaskStore, contents: Contents) -> None:
    client = contents.client
    for task_id in ("live", "failed", "done"):
        await running(store, task_id)
    await store.settle([Settlement(task_id="failed", fence=1, kind="fail")])
    await store.settle([Settlement(task_id="done", fence=1, kind="success", result="x")])
    assert await store.audit() == []
    for task_id in ("live", "failed", "done", "unknown"):
        await client.hset(store.keys.steps(task_id), "a", "1")
    await client.pexpire(store.keys.steps("live"), 100_000)
    assert await store.audit() == [
        "steps of done would never expire",
        "steps of failed would never expire",
        "steps of live task live would expire",
        "steps of success task done are kept for nobody",
        "steps of unknown would never expire",
    ]
