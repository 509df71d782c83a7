"""The gauges of operators' metrics: exact contents, exact numbers; and what they cost Redis, whatever is queued."""

from typing import Any

import pytest

from core_config import Settings
from taskstore.claims import Settlement
from taskstore.connection import connect
from taskstore.errors import StoreUnavailable
from taskstore.measures import WRITES, Lane, RedisState, state_of
from taskstore.records import NewTask
from taskstore.store import TaskStore
from tests.conftest import RedisServer

from .state import About, Contents, State, ZSet
from .worlds import blocked, ready, scheduled


@pytest.mark.parametrize("which", WRITES)
def test_a_redis_that_fails_to_write_any_of_its_files_says_so(which: str) -> None:
    info = dict.fromkeys(WRITES, "ok")
    assert state_of({"used_memory": 1}, info) == RedisState(1, 0, persistence_ok=True)
    assert state_of({"used_memory": 1}, {}) == RedisState(1, 0, persistence_ok=True), "one without files"
    assert state_of({"used_memory": 1}, info | {which: "err"}) == RedisState(1, 0, persistence_ok=False)


def busy(now: int) -> State:
    """Something everywhere."""
    state = blocked(now)
    state |= {
        "ready:M:i": ZSet(i0=1.0),
        "ready:M:b": ZSet(t5=1.0, t6=2.0),
        "ready:M:b:away": ZSet(a0=0.5),
        "ready:M:b:back": ZSet(b0=0.5),
        "ready:quarantine": ZSet(q0=2e12),
        "leases:quarantine": ZSet(q1=now, q2=now),
        "leases:N:i": ZSet(n1=now),
        "lanes": {"M:i", "M:b", "M:b:away", "M:b:back", "N:i", "Z:b", "quarantine"},
        "task:t5": {"status": "pending", "ready_at": now - 3_000, "queued_at": now - 90_000},
        "task:t6": {"status": "pending", "ready_at": now - 50_000},
        "task:i0": {"status": "pending", "queued_at": now - 7_000},  # of a version that did not note when it was ready
        "task:a0": {"status": "pending", "ready_at": now - 80_000},
        "task:b0": {"status": "pending", "ready_at": now - 4_000},
        "scheduled": ZSet(s0=now, s1=now, s2=now),
        "waiting": ZSet(w0=now),
        "dead": ZSet(d0=now, d1=now),
        "callers": {"alice", "bob"},
        "sessions:bob": ZSet(x=1, y=2),
        "idle": ZSet({"x bob": now, "y bob": now}),
        "paused": {"agent away": now, "model Z": now},
        "workers": ZSet(w1=now - 100, w2=now - 9_000, late=now - 60_000, alone=now, new=now),
        "worker:w1": {"slots": 50},
        "worker:w2": {"slots": 4},
        "worker:late": {"slots": 1_000},
        "worker:alone": {"slots": 1, "quarantine": "1"},
        "worker:new": {"claim_no": 1},
        "gates": {
            "M|cooling": f"{now + 60_000} 1 provider_timeout",
            "N|cooling": f"{now - 10} 1 provider_timeout",
            "P|cooling": f"{now - 10} 1 provider_timeout t0 1",
            "Q|cooling": f"{now - 10} 1 provider_timeout t0 9",
            "X|faults": f"1 {now}",
        },
    }
    return state


async def test_everything_is_counted_where_it_stands(store: TaskStore, contents: Contents) -> None:
    now = await contents.clock()
    before = busy(now)
    await contents.seed(before)
    gauges = (await store.measures()).gauges
    await contents.check(before)
    assert {key: (lane.ready, lane.running, lane.oldest_ms) for key, lane in gauges.lanes.items()} == {
        ("M", "interactive"): (1, 0, About(7_000)),
        # the lane's first task, and that of the agent which is not paused: the other one waits by order
        ("M", "batch"): (4, 1, About(4_000)),
        ("N", "interactive"): (0, 1, 0),
        ("Z", "batch"): (0, 0, 0),
        ("", "quarantine"): (1, 2, 0),
    }
    assert (gauges.scheduled, gauges.waiting, gauges.dead) == (3, 1, 2)
    assert (gauges.sessions_active, gauges.sessions_idle) == (1, 2)
    assert gauges.behind == {"alice": 1, "bob": 0}
    assert (gauges.workers, gauges.quarantine_workers, gauges.slots) == (3, 1, 54)
    assert set(gauges.paused) == {("agent", "away"), ("model", "Z")}
    # one whose time is over is cooling only while a task tries it
    assert set(gauges.cooling) == {"M", "P"}


async def test_nothing_is_nothing(store: TaskStore) -> None:
    measured = await store.measures()
    assert (measured.counts, dict(measured.gauges.lanes), measured.gauges.behind) == ({}, {}, {})
    assert measured.redis == RedisState(measured.redis.memory_used if measured.redis else -1, 0, persistence_ok=True)
    assert measured.redis
    assert measured.redis.memory_used > 100_000


def test_lanes_of_one_name_are_one() -> None:
    assert Lane(1, 2, 3) + Lane(10, 20, 1) == Lane(11, 22, 3)


@pytest.mark.parametrize("answer_of", ["ready_at", "queued_at"])
async def test_a_lane_s_age_is_since_its_first_task_may_run(
    answer_of: str, audited: TaskStore, contents: Contents
) -> None:
    """Not since the submit: what waited for its session or its time has not waited for a worker."""
    now = await contents.clock()
    state = ready(now)
    state["task:t1"] |= {"queued_at": now - 30_000, "ready_at": now - 2_000}
    if answer_of == "queued_at":
        del state["task:t1"]["ready_at"]
    await contents.seed(state)
    lane = (await audited.measures()).gauges.lanes["M", "batch"]
    assert lane.oldest_ms == About(2_000 if answer_of == "ready_at" else 30_000)


async def test_a_task_whose_time_came_unseen_is_as_old_as_that(audited: TaskStore, contents: Contents) -> None:
    now = await contents.clock()
    state = scheduled(now)
    state["scheduled"] = ZSet(t1=now - 40_000)
    state["task:t1"] |= {"run_at": now - 40_000, "queued_at": now - 40_000}
    await contents.seed(state)
    assert not (await audited.claim("w1", 1, room=0, extra=0, models={"M": None})).tasks
    assert (await audited.measures()).gauges.lanes["M", "batch"] == Lane(1, 0, About(40_000))  # type: ignore[arg-type]  # approximately


async def test_who_waits_behind_another_is_counted_as_they_come_and_go(audited: TaskStore) -> None:
    for number in range(4):
        await audited.submit(NewTask(task_id=f"t{number}", caller="alice", message="x", model="M", session_id="s"))
    await audited.submit(NewTask(task_id="b0", caller="bob", message="x", model="M", session_id="s"))

    async def behind() -> dict[str, int]:
        return dict((await audited.measures()).gauges.behind)

    assert await behind() == {"alice": 3, "bob": 0}
    for _ in range(2):
        await audited.cancel("t3", "alice")
    assert await behind() == {"alice": 2, "bob": 0}
    claimed = await audited.claim("w1", 1, room=5, extra=0, models={"M": None})
    end = [Settlement(task_id=one.task_id, fence=1, kind="success", result="x") for one in claimed.tasks]
    assert await audited.settle([*end, *end]) == ["ok"] * 4
    assert await behind() == {"alice": 1, "bob": 0}
    await audited.cancel("t1", "alice")
    assert await behind() == {"alice": 0, "bob": 0}


async def test_a_sweep_forgets_what_another_version_miscounted(store: TaskStore, contents: Contents) -> None:
    """One that let tasks behind others in and out without counting: right again as soon as there are none."""
    now = await contents.clock()
    await contents.seed(ready(now) | {"behind": {"alice": 3}, "swept": {"at": now}})
    await store.sweep()
    assert "behind" not in await contents.snapshot()
    assert await store.audit() == []


async def test_a_caller_is_known_as_long_as_its_sessions(audited: TaskStore, contents: Contents) -> None:
    await audited.submit(NewTask(task_id="t1", caller="alice", message="x", model="M", session_id="s"))
    await audited.claim("w1", 1, room=1, extra=0, models={"M": None})
    await audited.settle([Settlement(task_id="t1", fence=1, kind="success", result="x")])
    now = await contents.clock()
    await contents.client.zadd(contents.prefix + "gone", {"t1 alice": now - 1})
    await audited.sweep()
    gauges = (await audited.measures()).gauges
    assert (gauges.sessions_active, gauges.sessions_idle) == (0, 1)
    assert gauges.behind == {"alice": 0}
    await audited.sessions.forget("alice", "s")
    assert (await audited.measures()).gauges.behind == {}


async def test_a_redis_that_forgot_the_script_gets_it_again(store: TaskStore) -> None:
    for _ in range(2):
        await store.redis.script_flush()
        assert (await store.measures()).gauges.slots == 0


async def test_a_redis_that_restarted_is_asked_again(private_server: RedisServer, private_store: TaskStore) -> None:
    await private_store.submit(NewTask(task_id="t1", caller="alice", message="x", model="M"))
    private_server.kill()
    with pytest.raises(StoreUnavailable):
        await private_store.measures()
    private_server.start()
    measured = await private_store.measures()
    assert measured.gauges.lanes["M", "batch"].ready == 1
    assert sum(measured.counts.values()) == 1


async def test_a_user_who_may_not_ask_for_info_is_told_the_rest(
    private_server: RedisServer, private_settings: Settings
) -> None:
    async with connect(private_server.url) as admin:
        await admin.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-info")
    url = private_server.url.replace("redis://", "redis://app:pw@")
    async with connect(url) as client:
        measured = await TaskStore(client, private_settings).measures()
    assert measured.redis is None
    assert measured.gauges.scheduled == 0


async def cost(store: TaskStore) -> dict[str, int]:
    """What a read costs Redis: calls by command, those inside the script too."""
    await store.measures()  # loads the script
    client: Any = store.redis
    await client.config_resetstat()
    await store.measures()
    stats = await client.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in stats.items()}
    return {name: count for name, count in calls.items() if name != "config|resetstat"}


async def test_what_it_costs_does_not_grow_with_the_tasks(private_store: TaskStore) -> None:
    async def queue(first: int, count: int) -> None:
        for number in range(first, first + count):
            await private_store.submit(
                NewTask(task_id=f"t{number}", caller="alice", message="x", model="M", session_id=f"s{number % 9}")
            )

    await queue(0, 10)
    few = await cost(private_store)
    await queue(10, 990)
    assert await cost(private_store) == few
    assert few["evalsha"] == 1
    assert few["info"] == 2
    assert sum(few.values()) < 40
