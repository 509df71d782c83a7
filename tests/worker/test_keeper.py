"""The keeper's thread, in this process and on the tests' Redis."""

from collections.abc import AsyncIterator

import pytest

from taskstore.claims import Claim
from taskstore.records import WorkerInfo
from tests.worker.conftest import eventually, new_task
from worker.attempt import Stop
from worker.keeper import Keeper
from worker.outage import Outage

WORKER = WorkerInfo("w1", "test", 1, "test", 4, 0)


class Bench:
    """A keeper, what it asked to stop, and tasks that this worker has claimed."""

    def __init__(self, store, settings) -> None:
        self.store = store
        self.stopped: list[tuple[str, int, Stop]] = []
        self.keeper = Keeper(settings, WORKER, lambda *told: self.stopped.append(told), Outage())
        self._claims = 0

    async def claim(self) -> Claim:
        await self.store.submit(new_task())
        self._claims += 1
        (claim,) = (await self.store.claim("w1", self._claims, room=1, extra=0, models={"M": None})).tasks
        return claim

    async def lease(self, claim: Claim) -> float:
        """When it ends, ms by Redis's clock."""
        ends = await self.store.redis.zscore(self.store.keys.leases("M:b"), claim.task_id)
        assert ends is not None
        return float(ends)

    async def until_renewed(self, claim: Claim) -> None:
        before = await self.lease(claim)

        async def renewed() -> bool:
            return await self.lease(claim) > before

        await eventually(renewed, within_s=10)  # thirty times what it takes


@pytest.fixture
async def bench(store, settings) -> AsyncIterator[Bench]:
    made = Bench(store, settings)
    await made.keeper.start()
    yield made
    await made.keeper.stop()


async def test_a_task_that_is_held_keeps_its_lease_and_one_that_was_dropped_does_not(bench: Bench):
    dropped, held = await bench.claim(), await bench.claim()
    bench.keeper.hold(dropped.task_id, dropped.fence)
    bench.keeper.hold(held.task_id, held.fence)
    await bench.until_renewed(dropped)
    await bench.until_renewed(held)
    bench.keeper.drop(dropped.task_id, dropped.fence)
    await bench.until_renewed(held)  # a renewal that was on its way may still have held both
    before = await bench.lease(dropped)
    for _ in range(2):
        await bench.until_renewed(held)
    assert await bench.lease(dropped) == before


async def test_whoever_holds_a_task_hears_that_it_is_lost_and_that_its_cancel_was_asked_for(bench: Bench):
    lost, cancelled = await bench.claim(), await bench.claim()
    # the field, as the script writes it, without the message
    await bench.store.redis.hset(bench.store.keys.task(cancelled.task_id), "cancel_at", "1")
    bench.keeper.hold(lost.task_id, lost.fence - 1)
    bench.keeper.hold(cancelled.task_id, cancelled.fence)

    async def both() -> bool:
        said = {(lost.task_id, lost.fence - 1, Stop.LOST), (cancelled.task_id, cancelled.fence, Stop.CANCEL)}
        return said <= set(bench.stopped)

    await eventually(both, within_s=10)
