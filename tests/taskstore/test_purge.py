"""A purge deletes one dead letter without a trace, and touches nothing else."""

import pytest

from taskstore.claims import Settlement
from taskstore.errors import NotDead, TaskNotFound
from taskstore.records import NewTask, TokenUsage
from taskstore.states import Status
from taskstore.store import TaskStore

from .state import Contents, State, Stream, ZSet, changed
from .worlds import DEAD, NET, WORLDS, World, buried, event, record, with_task

TIMES = DEAD + NET - 1_000
NOTHING_LEFT: State = {
    "task:t1": None, "events:t1": None, "steps:t1": None, "dead": None, "gone": None, "caller:alice": None,
    "callers": None, "ttl": {"task:t1": None, "events:t1": None, "steps:t1": None},
}  # fmt: skip


def with_all(contents: Contents, now: int) -> State:
    """A dead letter with progress and an idempotency key."""
    key = contents.prefix + "idem:alice:key"
    state = with_task(buried, idem=key)(now) | {"steps:t1": {"answered": "1"}, "idem:alice:key": "t1 abc"}
    state["ttl"] |= {"steps:t1": TIMES, "idem:alice:key": TIMES}
    return state


@pytest.mark.parametrize("times", [1, 2])
async def test_nothing_is_left_of_it(times: int, audited: TaskStore, contents: Contents) -> None:
    before = with_all(contents, await contents.clock())
    await contents.seed(before)
    for _ in range(times):
        await audited.purge("t1", 1)
    gone = NOTHING_LEFT | {"idem:alice:key": None, "ttl": NOTHING_LEFT["ttl"] | {"idem:alice:key": None}}
    await contents.check(changed(before, gone))
    with pytest.raises(TaskNotFound):
        await audited.get("t1")
    assert (await audited.overview()).dead == 0


async def test_its_neighbours_stay(audited: TaskStore, contents: Contents) -> None:
    """Another dead letter of the same caller, and a key that is another task's by now."""
    now = await contents.clock()
    before = with_all(contents, now)
    before["task:t2"] = record(now, **{name: before["task:t1"][name] for name in ("status", "at", "completed_at")})
    before["events:t2"] = Stream([event(now, "failed", 1, 1)])
    for index in ("dead", "caller:alice"):
        before[index]["t2"] = now - 500
    before["gone"]["t2 alice"] = now + DEAD
    before["idem:alice:key"] = "t2 abc"
    before["ttl"] |= {"task:t2": TIMES, "events:t2": TIMES}
    await contents.seed(before)
    await audited.purge("t1", 1)
    await contents.check(changed(before, NOTHING_LEFT | {
        "dead": ZSet(t1=None), "gone": ZSet({"t1 alice": None}), "caller:alice": ZSet(t1=None), "callers": {"alice"},
    }))  # fmt: skip


@pytest.mark.parametrize(
    "make", [make for make in WORLDS.values() if make is not buried], ids=lambda make: make.__name__
)
async def test_what_is_no_dead_letter_is_refused_by_its_status(
    make: World, audited: TaskStore, contents: Contents
) -> None:
    before = make(await contents.clock())
    await contents.seed(before)
    with pytest.raises(NotDead) as refusal:
        await audited.purge("t1", int(before["task:t1"]["fence"]))
    assert refusal.value.status == before["task:t1"]["status"]
    await contents.check(before)


async def test_what_was_buried_again_since_it_was_seen_is_refused(audited: TaskStore, contents: Contents) -> None:
    await contents.seed(buried(await contents.clock()))
    seen = await audited.get("t1")
    await audited.replay("t1")
    with pytest.raises(NotDead):
        await audited.purge("t1", seen.fence)
    await audited.claim("w1", 1, room=1, extra=0, models={"M": None})
    await audited.settle([Settlement(task_id="t1", fence=2, kind="bury", error_code="internal", error="another")])
    with pytest.raises(NotDead) as refusal:
        await audited.purge("t1", seen.fence)
    assert refusal.value.status == "failed"
    again = await audited.get("t1")
    assert again.error == "another"
    await audited.purge("t1", again.fence)
    with pytest.raises(TaskNotFound):
        await audited.get("t1")


async def test_the_bill_stays_and_its_idempotency_key_begins_a_new_task(audited: TaskStore) -> None:
    task = NewTask(task_id="t1", caller="alice", message="x", model="M", idempotency_key="k", session_id="s")
    await audited.submit(task)
    await audited.claim("w1", 1, room=1, extra=0, models={"M": None})
    spent = TokenUsage(5, 2, 7)
    await audited.settle([Settlement(task_id="t1", fence=1, kind="bury", usage=spent, cost_usd=0.5)])
    await audited.purge("t1", 1)
    # a worker that was cut off, or a reply that was lost
    late = [Settlement(task_id="t1", fence=1, kind="success", result="late")]
    assert await audited.settle(late) == ["lease_lost"]
    (row,) = await audited.usage(by="caller", since_days=1)
    assert (row.name, row.total_tokens, row.cost_usd) == ("alice", 7, 0.5)
    another = NewTask(task_id="t2", caller="alice", message="y", model="M", idempotency_key="k", session_id="s")
    submitted = await audited.submit(another)
    assert (submitted.task_id, submitted.created) == ("t2", True)
    # its session is nobody's: the next of it runs at once
    assert [one.task_id for one in (await audited.claim("w1", 2, room=1, extra=0, models={"M": None})).tasks] == ["t2"]
    assert (await audited.get("t2")).status is Status.RUNNING
