"""What a wait was for stays in the stream: a task's time, its session, its model's limit."""

from typing import Any

from taskstore.claims import Settlement
from taskstore.records import NewTask
from taskstore.store import TaskStore

from .state import About, Contents, ZSet
from .worlds import blocked, running


def new(task_id: str, **fields: Any) -> NewTask:
    return NewTask(**{"task_id": task_id, "caller": "alice", "message": "x", "model": "M", **fields})


async def kinds(store: TaskStore, task_id: str) -> list[str]:
    return [event.type if event.type != "status" else event.status for event in (await store.history(task_id)).events]


async def test_a_task_that_its_session_lets_in_says_so(audited: TaskStore, contents: Contents) -> None:
    now = await contents.clock()
    await contents.seed(blocked(now))
    await audited.settle([Settlement(task_id="t0", fence=1, kind="success", result="x")])
    assert await kinds(audited, "t1") == ["pending", "let_in"]
    event = (await audited.history("t1")).events[-1]
    assert event.at.timestamp() * 1000 == About(now)


async def test_a_scheduled_task_says_when_its_time_came(audited: TaskStore, contents: Contents) -> None:
    """It may be some time after: promoting is a claim's, and a full worker claims nothing."""
    await audited.submit(new("t1", run_at_ms=await contents.clock() + 60_000))
    due = await contents.clock() - 5_000
    await contents.client.hset(contents.prefix + "task:t1", mapping={"run_at": due, "queued_at": due})
    await contents.client.zadd(contents.prefix + "scheduled", {"t1": due})
    await audited.claim("w1", 1, room=1, extra=0, models={"M": None})
    assert await kinds(audited, "t1") == ["pending", "due", "running"]
    event = (await audited.history("t1")).events[1]
    assert event.due is not None
    assert event.due.timestamp() * 1000 == due


async def back(contents: Contents, ms: int) -> None:
    """The model has been at its limit for so much longer."""
    key = contents.prefix + "holds"
    reason, since = (await contents.client.hget(key, "model M|now")).split()
    await contents.client.hset(key, "model M|now", f"{reason} {int(since) - ms}")


async def test_what_a_models_limit_cost_a_wait_is_told(audited: TaskStore, contents: Contents) -> None:
    for name in ("t1", "t2", "t3"):
        await audited.submit(new(name))
    assert len((await audited.claim("w1", 1, room=5, extra=0, models={"M": 1})).tasks) == 1
    await back(contents, 7_000)
    # as long as they wait; t1 runs, and waited for nothing
    told = [(await audited.history(name)).held for name in ("t1", "t2", "t3")]
    assert told == [{}, {"limit": About(7_000)}, {"limit": About(7_000)}]
    # a later one has waited for none of that
    await audited.submit(new("t4"))
    assert (await audited.history("t4")).held.get("limit", 0) == About(0)

    await audited.settle([Settlement(task_id="t1", fence=1, kind="success", result="x")])
    assert "model M|now" not in await contents.client.hgetall(contents.prefix + "holds")
    await audited.claim("w1", 2, room=5, extra=0, models={"M": 1})
    await back(contents, 2_000)
    began = [event for event in (await audited.history("t2")).events if event.status == "running"]
    assert [event.held for event in began] == [{"limit": About(7_000)}]
    assert (await audited.history("t3")).held == {"limit": About(9_000)}

    # a retry's wait begins anew
    await audited.settle([Settlement(task_id="t2", fence=1, kind="retry", delay_ms=0)])
    assert (await audited.history("t2")).held.get("limit", 0) == About(0)


async def test_a_model_without_a_limit_costs_no_key(audited: TaskStore, contents: Contents) -> None:
    await contents.seed(running(await contents.clock()))
    await audited.submit(new("t2"))
    await audited.claim("w1", 1, room=5, extra=0, models={"M": None, "N": 3})
    await audited.settle([Settlement(task_id="t2", fence=1, kind="success", result="x")])
    found = await contents.snapshot()
    assert not {"holds", "gates", "paused", "aside"} & found.keys()
    assert "held_from" not in found["task:t2"]
    assert found["live"] == ZSet(t1=float("inf"))


async def test_a_limit_that_was_raised_is_none_any_more(audited: TaskStore, contents: Contents) -> None:
    for name in ("t1", "t2"):
        await audited.submit(new(name))
    await audited.claim("w1", 1, room=1, extra=0, models={"M": 1})
    await back(contents, 3_000)
    await audited.claim("w1", 2, room=0, extra=0, models={"M": 2})
    assert await contents.client.hgetall(contents.prefix + "holds") == {
        "model M|limit": str((await audited.history("t2")).held["limit"])
    }
