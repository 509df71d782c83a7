"""Renew: a worker lives, its tasks keep their leases, and it hears of cancels; and the channel that is quicker."""

from taskstore.records import WorkerInfo
from taskstore.store import TaskStore

from .state import About, Contents, ZSet, changed
from .worlds import LEASE, running, with_task

WORKER = WorkerInfo("w1", "host-1", 4242, "1.2", 50, 0)
ABOUT = {"host": "host-1", "pid": 4242, "version": "1.2", "slots": 50}


async def test_a_renew_gives_its_tasks_another_lease_and_says_who_the_worker_is(
    audited: TaskStore, contents: Contents
) -> None:
    now = await contents.clock()
    before = changed(running(now), {"leases:M:b": ZSet(t1=now + 50), "workers": ZSet(w1=now - 3_000)})
    await contents.seed(before)
    changes = {
        "leases:M:b": ZSet(t1=About(now + LEASE)), "workers": ZSet(w1=About(now)), "worker:w1": ABOUT,
        "ttl": {"worker:w1": About(3_600_000)},
    }  # fmt: skip
    for _ in range(2):
        assert await audited.renew(WORKER, [("t1", 1)]) == {"t1": "ok"}
        await contents.check(changed(before, changes))


async def test_a_worker_with_nothing_to_hold_is_still_seen(audited: TaskStore) -> None:
    assert await audited.renew(WORKER, []) == {}
    (seen,) = (await audited.overview()).workers
    assert (seen.id, seen.host, seen.pid, seen.version, seen.slots) == ("w1", "host-1", 4242, "1.2", 50)
    assert 0 <= seen.last_seen_ms < 60_000


async def test_a_renew_hears_of_a_cancel_and_the_lease_goes_on(audited: TaskStore, contents: Contents) -> None:
    now = await contents.clock()
    before = changed(with_task(running, cancel_at=now - 500)(now), {"leases:M:b": ZSet(t1=now + 50)})
    await contents.seed(before)
    assert await audited.renew(WORKER, [("t1", 1)]) == {"t1": "cancel"}
    assert await contents.client.zscore(contents.prefix + "leases:M:b", "t1") == About(now + LEASE)


async def test_a_renew_puts_back_a_lease_that_was_lost(audited: TaskStore, contents: Contents) -> None:
    now = await contents.clock()
    before = running(now)
    del before["leases:M:b"]
    await contents.seed(before)
    assert await audited.renew(WORKER, [("t1", 1)]) == {"t1": "ok"}


async def test_a_requested_cancel_is_published_each_time_it_is_asked(audited: TaskStore, contents: Contents) -> None:
    await contents.seed(running(await contents.clock()))
    async with contents.client.pubsub() as pubsub:
        await pubsub.subscribe(contents.prefix + "cancel")
        await pubsub.get_message(timeout=5)
        for _ in range(2):
            await audited.cancel("t1", "alice")
            assert (await pubsub.get_message(timeout=5))["data"] == "t1"
