"""A paused model's or agent's tasks are accepted, wait at their places, and start at once when it is resumed."""

import pytest

from taskstore.claims import ModelRules
from taskstore.records import Kind
from taskstore.store import TaskStore

from .state import About, Contents, ZSet
from .test_cooldown import Fleet


@pytest.fixture
def fleet(audited: TaskStore, contents: Contents) -> Fleet:
    return Fleet(audited, contents)


async def test_a_paused_models_tasks_wait_and_those_of_others_go_on(fleet: Fleet) -> None:
    await fleet.store.pause("model", "M")
    await fleet.store.pause("model", "M")
    await fleet.submit("t1", "t2")
    await fleet.submit("chat", kind=Kind.INTERACTIVE)
    await fleet.submit("n1", model="N")
    assert await fleet.started() == ["n1"]
    claimed = await fleet.claim()
    assert (claimed.tasks, claimed.more, claimed.next_due_ms) == ([], False, None)
    (paused,) = (await fleet.store.overview()).paused
    assert (paused.kind, paused.name) == ("model", "M")
    assert paused.for_ms == About(0)

    await fleet.bells()
    assert await fleet.store.resume("model", "M") == (True, False)
    assert await fleet.bells() == ["b", "i"]
    assert await fleet.started() == ["chat", "t1", "t2"]
    assert await fleet.store.resume("model", "M") == (False, False)
    assert await fleet.bells() == []


async def test_what_runs_when_its_model_is_paused_goes_on(fleet: Fleet) -> None:
    await fleet.submit("t1")
    await fleet.started()
    await fleet.store.pause("model", "M")
    await fleet.settle("t1", "retry")
    assert (await fleet.store.get("t1")).status == "retrying"
    assert await fleet.started() == []


async def test_a_paused_agents_tasks_hide_no_others_and_keep_their_places(fleet: Fleet, contents: Contents) -> None:
    await fleet.submit(*[f"p{number}" for number in range(30)], agent="A b", caller="b")
    await fleet.submit("t1", "t2")
    await fleet.store.pause("agent", "A b")
    assert await fleet.started(room=1) == ["t1"]
    assert (await fleet.store.get("p0")).index == "ready:M:b:A b"
    assert (await fleet.store.overview()).queued == 31
    await fleet.submit("t3")
    await fleet.submit("p30", agent="A b", caller="b")
    assert await fleet.started() == ["t2", "t3"]
    assert (await fleet.store.get("p30")).index == "ready:M:b:A b"

    await fleet.submit("t4")
    await fleet.bells()
    assert await fleet.store.resume("agent", "A b") == (True, False)
    assert await fleet.bells() == ["b", "i"]
    claimed = await fleet.claim(room=5)
    assert [task.task_id for task in claimed.tasks] == ["p0", "p1", "p2", "t4", "p3"]
    assert claimed.more
    assert (await fleet.store.get("p1")).index == "leases:M:b"  # it counts as any other of its model
    assert await fleet.started(room=100) == [f"p{number}" for number in range(4, 31)]
    await fleet.claim()
    found = await contents.snapshot()
    assert "aside" not in found
    assert not [key for key in found if key.startswith("ready:")]


async def test_a_task_that_stands_aside_can_be_cancelled_expires_and_is_found(fleet: Fleet, contents: Contents) -> None:
    await fleet.store.pause("agent", "A")
    await fleet.submit("p1", "p2", "p3", agent="A")
    await fleet.claim()
    await fleet.store.cancel("p1")
    await contents.client.zadd(contents.prefix + "live", {"p2": 1})
    await fleet.store.sweep()
    assert [(await fleet.store.get(name)).status for name in ("p1", "p2", "p3")] == ["cancelled", "failed", "pending"]
    assert (await contents.snapshot())["ready:M:b:A"] == ZSet(p3=About(3))
    assert (await fleet.store.get("p3")).queue_position == 0
    assert (await fleet.store.history("p3")).held.keys() == {"pause"}


async def test_many_of_a_paused_agent_are_put_aside_some_at_a_time(fleet: Fleet) -> None:
    await fleet.submit(*[f"p{number}" for number in range(250)], agent="A", caller="b")
    await fleet.submit(*[f"t{number}" for number in range(3)], priority=1)
    await fleet.store.pause("agent", "A")
    claimed = await fleet.claim(room=2)
    assert claimed.more  # it is not done
    taken = [task.task_id for task in claimed.tasks]
    while claimed.more and len(taken) < 3:
        claimed = await fleet.claim(room=2)
        taken += [task.task_id for task in claimed.tasks]
    assert taken == ["t0", "t1", "t2"]


async def test_resume_ends_a_cooldown(fleet: Fleet) -> None:
    await fleet.submit("t1", "t2")
    await fleet.started(room=1)
    await fleet.settle("t1", "fail", fault="provider_no_balance")
    assert await fleet.started() == []
    await fleet.bells()
    assert await fleet.store.resume("model", "M") == (False, True)
    assert await fleet.bells() == ["b", "i"]
    assert await fleet.started() == ["t2"]


async def test_each_reason_of_a_wait_is_told_with_its_own_time(fleet: Fleet, contents: Contents) -> None:
    async def passes(ms: int) -> None:
        key = contents.prefix + "holds"
        for field, value in (await contents.client.hgetall(key)).items():
            if field.endswith("|now"):
                reason, since = value.split()
                await contents.client.hset(key, field, f"{reason} {int(since) - ms}")

    fleet.rules = {"M": ModelRules()}
    await fleet.submit("t1", "t2")
    await fleet.started(room=1)
    await fleet.settle("t1", "fail", fault="provider_no_balance")
    await fleet.claim()
    await passes(40_000)
    await fleet.store.pause("model", "M")
    await passes(20_000)
    await fleet.store.pause("agent", "default")
    await passes(3_000)
    assert (await fleet.store.history("t2")).held == {"cooldown": About(40_000), "pause": About(26_000)}
    await fleet.store.resume("agent", "default")
    await fleet.store.resume("model", "M")
    await fleet.claim()
    (began,) = [event for event in (await fleet.store.history("t2")).events if event.status == "running"]
    assert began.held == {"cooldown": About(40_000), "pause": About(26_000)}
