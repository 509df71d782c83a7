"""The reaper: when it looks."""

from core_config import Settings
from taskstore.store import TaskStore
from tests.worker.conftest import eventually, new_task
from worker import reaper
from worker.outage import Outage
from worker.reaper import Reaper


async def test_it_sweeps_when_a_lease_ends_and_not_only_at_its_own_pace(store, settings: Settings, monkeypatch):
    """At its own pace it would look once, now, and then never in this test's time."""
    monkeypatch.setattr(reaper, "EVERY_S", 3_600.0)
    task = new_task()
    await store.submit(task)
    claimed = await store.claim("w1", 1, room=1, extra=0, models={"M": None})
    assert [claim.task_id for claim in claimed.tasks] == [task.task_id]
    one = Reaper(settings, Outage())
    await one.start()

    async def rescued() -> bool:
        return (await store.get(task.task_id)).status != "running"

    try:
        await eventually(rescued)
    finally:
        await one.stop()


async def test_a_sweep_says_when_the_next_lease_ends(store: TaskStore):
    assert (await store.reap())[1] is None
    for number, lane in enumerate(("M", "N"), 1):
        await store.submit(new_task(model=lane))
        await store.claim("w1", number, room=1, extra=0, models={lane: None})
    before = await clock(store)
    _, ends_in = await store.reap()
    ends = [(await store.redis.zrange(store.keys.leases(f"{lane}:b"), 0, 0, withscores=True))[0][1] for lane in "MN"]
    assert min(ends) - await clock(store) <= ends_in <= min(ends) - before


async def clock(store: TaskStore) -> int:
    seconds, micros = await store.redis.time()
    return int(seconds * 1000 + micros // 1000)
