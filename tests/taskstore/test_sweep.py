"""The sweep beyond the edges: gaps, orphans, what it forgets, whom it wakes. Times are seeded, never slept for."""

import pytest

from core_config import Settings
from taskstore.records import NewTask
from taskstore.states import Status
from taskstore.store import TaskStore

from .edges import joined, sweep, swept
from .edges_others import behind_clock, lease_over, rescued
from .state import About, Contents, State, ZSet, changed
from .worlds import (
    LEASE,
    World,
    buried,
    due,
    running,
    success,
    with_task,
)  # fmt: skip
from .worlds import swept as half_a_second_ago


async def swept_to(
    store: TaskStore, contents: Contents, before: State, answer: dict[str, int], changes: State, *, dead: str = ""
) -> None:
    """Seeds, sweeps once, and compares the answer and the exact contents."""
    await contents.seed(before)
    assert await sweep(dead)(store) == answer
    await contents.check(changed(before, changes))


@pytest.mark.parametrize(
    "last_sweep",
    [{"swept": {"at": -round(0.62 * LEASE), "cursor": "0"}}, {"swept": {"at": 60_000, "cursor": "0"}}, {}],
    ids=["Redis was away for less than a lease has left at least", "its clock went back", "never swept"],
)
async def test_after_a_gap_every_lease_gets_a_full_term_before_any_is_judged(
    last_sweep: State, audited: TaskStore, contents: Contents
) -> None:
    now = await contents.clock()
    before = lease_over(60_000)(now)
    del before["swept"]
    if last_sweep:
        before["swept"] = {"at": now + last_sweep["swept"]["at"], "cursor": "0"}
    granted = {"leases:M:b": ZSet(t1=About(now + LEASE))}
    await swept_to(
        audited, contents, before, {"granted": 1},
        joined(behind_clock(now), granted, {"swept": {"at": About(now), "cursor": "0"}}),
    )  # fmt: skip
    assert await sweep()(audited) == {}


async def test_of_a_short_lease_a_gap_is_short(store: TaskStore, settings: Settings, contents: Contents) -> None:
    """One of 3 s has 2 s left when Redis stops to answer: after less than the 3 s of longer ones it would be lost."""
    now = await contents.clock()
    await contents.seed(joined(lease_over(60_000)(now), {"swept": {"at": now - 1_900, "cursor": "0"}}))
    short = TaskStore(store.redis, settings.model_copy(update={"lease_seconds": 3.0}))
    assert (await short.sweep())["granted"] == 1
    assert await store.audit() == []


async def test_a_worker_known_to_be_dead_is_not_spared_by_a_gap(audited: TaskStore, contents: Contents) -> None:
    now = await contents.clock()
    before = running(now)
    await swept_to(
        audited, contents, before, {"rescued": 1},
        joined(rescued(now, 1, "worker_lost", crashes=1), {"workers": ZSet(w1=None)},
               {"swept": {"at": About(now), "cursor": "0"}}),
        dead="w1",
    )  # fmt: skip


async def test_a_dead_workers_sweep_leaves_other_workers_tasks(audited: TaskStore, contents: Contents) -> None:
    now = await contents.clock()
    await swept_to(audited, contents, half_a_second_ago(running)(now), {}, behind_clock(now), dead="w9")


async def test_a_busy_worker_that_dies_is_charged_although_it_had_just_claimed(
    audited: TaskStore, contents: Contents
) -> None:
    """Its leases end a lease after its last renew; a claim in between is no sign that it still runs the others."""
    await contents.seed(lease_over(LEASE + 50)(await contents.clock()))
    await audited.claim("w1", 1, room=1, extra=0, models={"M": None})
    await audited.sweep()
    record = await audited.get("t1")
    assert (record.cause, record.crashes, record.attempt) == ("worker_lost", 1, 1)


async def test_a_dead_worker_is_charged_that_renewed_others_just_after_its_claim(
    audited: TaskStore, contents: Contents
) -> None:
    """It had not read the claim's answer yet: the claim's lease ends before a lease is over since the renewal."""
    await contents.seed(lease_over(LEASE - 300)(await contents.clock()))
    await audited.sweep()
    record = await audited.get("t1")
    assert (record.cause, record.crashes, record.attempt) == ("worker_lost", 1, 1)


async def test_a_renewing_worker_is_never_charged(audited: TaskStore, contents: Contents) -> None:
    await contents.seed(lease_over(LEASE - 1_500)(await contents.clock()))
    await audited.sweep()
    record = await audited.get("t1")
    assert (record.cause, record.crashes, record.attempt) == ("lost_claim", 0, 0)


def to_forget(make: World) -> World:
    def made(now: int) -> State:
        state = half_a_second_ago(with_task(make, idem=""))(now)
        state["gone"] = ZSet({"t1 alice": now - 100})
        return state

    return made


NOTHING_LEFT: State = {
    "task:t1": None, "events:t1": None, "gone": None, "dead": None, "caller:alice": None, "callers": None,
    "ttl": {"task:t1": None, "events:t1": None},
}  # fmt: skip


@pytest.mark.parametrize("make", [success, buried])
async def test_what_is_past_its_retention_is_forgotten_without_a_trace(
    make: World, audited: TaskStore, contents: Contents
) -> None:
    now = await contents.clock()
    before = to_forget(make)(now)
    await swept_to(audited, contents, before, {"forgotten": 1}, joined(behind_clock(now), NOTHING_LEFT))


async def test_a_record_that_redis_expired_first_leaves_its_callers_index_too(
    audited: TaskStore, contents: Contents
) -> None:
    """Nothing swept for longer than the keys' own time to live, say over a weekend."""
    now = await contents.clock()
    before = {
        name: content for name, content in to_forget(success)(now).items() if name not in {"task:t1", "events:t1"}
    } | {"ttl": {}}  # fmt: skip
    await swept_to(audited, contents, before, {"forgotten": 1},
                   joined(behind_clock(now), {"gone": None, "caller:alice": None, "callers": None}))  # fmt: skip


@pytest.mark.parametrize(("held", "kept"), [("t1 abc", False), ("t2 abc", True)])
async def test_an_idempotency_key_goes_with_the_task_it_names_and_with_no_other(
    held: str, kept: bool, audited: TaskStore, contents: Contents
) -> None:
    now = await contents.clock()
    key = contents.prefix + "idem:alice:key"
    before = to_forget(success)(now) | {"idem:alice:key": held}
    before["task:t1"]["idem"] = key
    await contents.seed(before)
    await audited.sweep()
    assert await contents.client.exists(key) == int(kept)


async def test_a_sweep_takes_a_bounded_number_and_the_next_goes_on(store: TaskStore, contents: Contents) -> None:
    now = await contents.clock()
    members = ZSet({f"t{number} alice": now - 100 for number in range(150)})
    await contents.seed({"gone": members, "swept": {"at": now - 500, "cursor": "0"}})
    assert [(await store.sweep())["forgotten"] for _ in range(3)] == [100, 50, 0]


async def test_flows_that_the_clock_has_passed_are_forgotten_and_others_kept(
    audited: TaskStore, contents: Contents
) -> None:
    now = await contents.clock()
    flows = {"*": "10.5", "a|5": "10.500000", "b|5": "10.562500", "c|9": "3.000000"}
    await swept_to(
        audited, contents, {"fair": flows, "swept": {"at": now - 500, "cursor": "0"}}, {},
        joined(swept(now), {"fair": {"a|5": None, "c|9": None}}),
    )  # fmt: skip


async def test_a_worker_unseen_for_an_hour_is_forgotten(audited: TaskStore, contents: Contents) -> None:
    now = await contents.clock()
    before: State = {
        "workers": ZSet(w1=now - 3_601_000, w2=now - 3_500_000), "swept": {"at": now - 500, "cursor": "0"},
    }  # fmt: skip
    await swept_to(audited, contents, before, {}, joined(swept(now), {"workers": ZSet(w1=None)}))


FREES_A_SLOT: dict[str, tuple[World, str]] = {
    "cancelled": (lease_over(6_000, cancel_at=1_700_000_000_000), ""),
    "crashes used up": (lease_over(6_000, crashes=2), ""),
    "overdue": (half_a_second_ago(due(running, -30_100)), ""),
    "dead worker": (with_task(half_a_second_ago(running), crashes=2), "w1"),
}


@pytest.mark.parametrize("name", FREES_A_SLOT)
async def test_a_slot_that_a_sweep_frees_wakes_who_waits_for_the_model(
    name: str, audited: TaskStore, contents: Contents
) -> None:
    make, dead = FREES_A_SLOT[name]
    await contents.seed(make(await contents.clock()))
    await audited.submit(NewTask(task_id="t2", caller="bob", message="x", model="M"))
    # the bell woke a worker, which found the model at its limit
    await contents.client.delete(contents.prefix + "bell:b")
    assert not (await audited.claim("w2", 1, room=5, extra=0, models={"M": 1})).tasks
    assert not await contents.client.exists(contents.prefix + "bell:b")

    await audited.sweep(dead)

    assert (await audited.get("t1")).status.is_final
    assert await contents.client.lrange(contents.prefix + "bell:b", 0, -1) == ["1"]
    assert len((await audited.claim("w2", 2, room=5, extra=0, models={"M": 1})).tasks) == 1


async def test_an_overdue_running_task_is_not_looked_at_twice(audited: TaskStore, contents: Contents) -> None:
    now = await contents.clock()
    await contents.seed(half_a_second_ago(due(running, -100))(now))
    for _ in range(2):
        assert await sweep()(audited) == {}
    assert (await audited.get("t1")).status is Status.RUNNING
    assert await contents.client.zscore(contents.prefix + "live", "t1") == now - 100 + 30_000
