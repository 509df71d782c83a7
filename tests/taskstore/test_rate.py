"""Requests a minute: a bucket that each start and each further call takes from, shared by all workers."""

import pytest

from taskstore.claims import ModelRules
from taskstore.store import TaskStore

from .state import About, Contents
from .test_cooldown import Fleet


@pytest.fixture
def fleet(audited: TaskStore, contents: Contents) -> Fleet:
    fleet = Fleet(audited, contents)
    fleet.rules = {"M": ModelRules(rpm=60)}
    return fleet


async def left(contents: Contents) -> float:
    text: str = await contents.client.hget(contents.prefix + "gates", "M|bucket")
    return float(text.split(maxsplit=1)[0])


async def minutes_pass(contents: Contents, ms: int) -> None:
    key = contents.prefix + "gates"
    count, as_of, rpm = (await contents.client.hget(key, "M|bucket")).split()
    await contents.client.hset(key, "M|bucket", f"{count} {int(as_of) - ms} {rpm}")


async def test_no_more_tasks_start_than_the_bucket_holds_and_the_claim_says_when_the_next_may(
    fleet: Fleet, contents: Contents
) -> None:
    await fleet.submit(*[f"t{number}" for number in range(9)])
    await fleet.submit("n1", model="N")
    claimed = await fleet.claim(room=20)
    assert [task.task_id for task in claimed.tasks] == [
        "t0",
        "t1",
        "t2",
        "t3",
        "t4",
        "t5",
        "n1",
    ]  # a tenth of a minute's
    assert claimed.next_due_ms == About(1_000, within=100)
    assert not claimed.more
    assert (await fleet.claim()).tasks == []
    await minutes_pass(contents, 2_000)
    assert await fleet.started() == ["t6", "t7"]
    await minutes_pass(contents, 3_600_000)
    assert await fleet.started() == ["t8"]
    assert await left(contents) == About(5, within=0.5)  # it never holds more than it did at first


async def test_further_calls_are_charged_once_and_tasks_wait_until_they_are_made_up(
    fleet: Fleet, contents: Contents
) -> None:
    await fleet.submit("t1", "t2")
    assert await fleet.started(room=1) == ["t1"]
    calls = [("begun", "M")] * 15
    await fleet.tell("t1", *calls)
    await fleet.tell("t1", *calls, ("begun", "M"))  # the first reply was lost
    assert await left(contents) == About(-11, within=0.5)
    claimed = await fleet.claim()
    assert claimed.tasks == []
    assert claimed.next_due_ms == About(12_000, within=500)
    assert (await fleet.store.history("t2")).held.keys() == {"rate"}
    await minutes_pass(contents, 12_100)
    assert await fleet.started() == ["t2"]


async def test_calls_of_a_fallback_are_charged_to_its_own_model(fleet: Fleet, contents: Contents) -> None:
    fleet.models["F"] = None
    fleet.rules = {"M": ModelRules(rpm=60), "F": ModelRules(rpm=600)}
    await fleet.submit("t1")
    await fleet.submit("f1", model="F")
    await fleet.started()
    await fleet.tell("t1", ("begun", "F"), ("begun", "F"))
    found = await contents.client.hgetall(contents.prefix + "gates")
    assert float(found["M|bucket"].split()[0]) == About(5, within=0.5)
    assert float(found["F|bucket"].split()[0]) == About(57, within=3)


async def test_a_slow_limit_lets_one_task_start_and_then_waits(fleet: Fleet, contents: Contents) -> None:
    fleet.rules = {"M": ModelRules(rpm=2)}
    await fleet.submit("t1", "t2")
    claimed = await fleet.claim()
    assert [task.task_id for task in claimed.tasks] == ["t1"]
    assert claimed.next_due_ms == About(30_000)


async def test_a_model_without_a_limit_keeps_no_bucket(fleet: Fleet, contents: Contents) -> None:
    fleet.rules = {}
    await fleet.submit("t1")
    await fleet.started()
    await fleet.tell("t1", ("begun", "M"), ("answered", "M"))
    await fleet.settle("t1")
    assert "gates" not in await contents.snapshot()
