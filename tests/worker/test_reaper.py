"""The reaper: when it looks."""

from core_config import Settings
from taskstore.store import TaskStore
from tests.worker.conftest import new_task
from worker.outage import Outage
from worker.reaper import EVERY_S, JUST_AFTER_S, Reaper


async def test_it_looks_again_when_a_lease_ends_and_else_at_its_own_pace(store: TaskStore, settings: Settings):
    await store.submit(new_task())
    await store.claim("w1", 1, room=1, extra=0, models={"M": None})
    one = Reaper(settings, Outage())
    assert await one._sweep(store) == EVERY_S
    await store.redis.zadd(store.keys.leases("M:b"), {await only_task(store): await clock(store) + EVERY_S * 500})
    assert await one._sweep(store) <= EVERY_S / 2 + JUST_AFTER_S


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


async def only_task(store: TaskStore) -> str:
    (task_id,) = await store.redis.zrange(store.keys.leases("M:b"), 0, -1)
    return str(task_id)
