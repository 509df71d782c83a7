"""What a look at a task answers about its end and about what its run has said: exact contents before, exact answer."""

import time
from typing import Any

import pytest

from core_config import Settings
from taskstore.claims import SettleKind, Settlement
from taskstore.connection import connect
from taskstore.errors import TaskNotFound
from taskstore.estimate import Look, Outlook
from taskstore.records import NewTask
from taskstore.steps import StepBatch, StepNote
from taskstore.store import TaskStore

from .state import About, Contents, State, ZSet
from .test_round_trips import commands
from .worlds import WORLDS, ready, running, scheduled

RUNS = [5_000, 4_000, 3_000, 2_000, 1_000]


def busy(now: int) -> State:
    """`t1` stands in the middle of everything that an estimate looks at."""
    state = ready(now)
    state["ready:M:b"] = ZSet(t0=0.5, t1=1.0, t2=1.5)
    state["ready:M:i"] = ZSet(i0=7.0)
    state["ready:M:b:away"] = ZSet(a0=0.1)
    state["ready:M:b:back"] = ZSet(b0=0.1, b1=9.0)
    state["ready:N:b"] = ZSet(n0=0.7, n1=1.0, n2=1.1)
    state["ready:X:b"] = ZSet(x0=0.1)
    state["ready:quarantine"] = ZSet(q0=0.1)
    state["leases:M:b"] = ZSet(r0=now + 1)
    state["leases:N:b"] = ZSet(r1=now + 1, r2=now + 1)
    state["lanes"] = {"M:b", "M:i", "M:b:away", "M:b:back", "N:b", "X:b", "quarantine"}
    state["paused"] = {"model X": now, "agent away": now}
    state["gates"] = {"N|cooling": f"{now + 60_000} 1 provider_timeout", "X|bucket": "0.000000 1 60",
                      "M|bucket": f"-3.500000 {now + 60_000} 60"}  # fmt: skip
    state["pace:M:default"] = [str(ms) for ms in RUNS]
    state["workers"] = ZSet(w1=now - 100, w2=now - 9_000, gone=now - 60_000, alone=now, new=now)
    state["worker:w1"] = {"slots": 50}
    state["worker:w2"] = {"slots": 4}
    state["worker:gone"] = {"slots": 1_000}
    state["worker:alone"] = {"slots": 1, "quarantine": "1"}
    state["worker:new"] = {"claim_no": 1}
    return state


def near(outlook: Outlook | None, now: int) -> dict[str, Any]:
    """The outlook's fields, those that run with the clock as approximations."""
    assert outlook is not None
    assert outlook.now.timestamp() * 1000 == About(now)
    return {name: getattr(outlook, name) for name in Outlook.__slots__ if name != "now"}


BLANK: dict[str, Any] = {
    "due_ms": 0, "paused": False, "slots": 0, "extra": 0, "runs": [], "ahead": {}, "running": {}, "cooling": {},
    "requests": None,
}  # fmt: skip


async def test_a_look_at_a_ready_task_tells_all_that_comes_before_it(store: TaskStore, contents: Contents) -> None:
    now = await contents.clock()
    await contents.seed(busy(now))
    before = await contents.snapshot()
    look = await store.look("t1", "alice")
    assert near(look.outlook, now) == {
        "due_ms": 0, "paused": False, "slots": 54, "extra": 6, "runs": RUNS,
        "ahead": {"M": 1 + 1 + 1, "N": 1}, "running": {"M": 1, "N": 2}, "cooling": {"N": About(60_000)},
        "requests": -3.5,
    }  # fmt: skip
    assert look.record == await store.get("t1")
    assert (await contents.snapshot()).keys() == before.keys(), "a look writes nothing"


async def test_an_interactive_task_stands_behind_interactive_ones_only(store: TaskStore, contents: Contents) -> None:
    now = await contents.clock()
    state = busy(now)
    state["task:t1"] |= {"kind": "i", "at": "ready:M:i"}
    del state["ready:M:b"]["t1"]
    state["ready:M:i"] = ZSet(i0=0.5, t1=1.0, i2=1.5)
    await contents.seed(state)
    assert near((await store.look("t1")).outlook, now)["ahead"] == {"M": 1}


@pytest.mark.parametrize(
    ("fair", "ahead"),
    [({"*": "0"}, {"M": 3, "N": 1}), ({"*": "0.5", "alice|5": "2.05"}, {"M": 4, "N": 3})],
    ids=["place 1.0", "place 3.05"],
)
async def test_a_scheduled_task_is_where_it_would_stand_now(
    store: TaskStore, contents: Contents, fair: dict[str, str], ahead: dict[str, int]
) -> None:
    now = await contents.clock()
    state = busy(now)
    state |= {"task:t1": scheduled(now)["task:t1"], "scheduled": ZSet(t1=now + 60_000), "fair": fair}
    del state["ready:M:b"]["t1"]
    state["ready:M:b"]["t2"] = 1.5
    await contents.seed(state)
    found = near((await store.look("t1")).outlook, now)
    assert found["due_ms"] == About(60_000)
    assert found["ahead"] == ahead


@pytest.mark.parametrize("what", ["model M", "agent default"])
async def test_a_paused_task_is_said_to_be_paused(store: TaskStore, contents: Contents, what: str) -> None:
    now = await contents.clock()
    await contents.seed(busy(now) | {"paused": {what: now}})
    assert near((await store.look("t1")).outlook, now) == BLANK | {"paused": True}


async def test_a_pause_holds_up_nothing_that_runs(store: TaskStore, contents: Contents) -> None:
    now = await contents.clock()
    state = running(now) | {"paused": {"model M": now}, "pace:M:default": ["5"], "worker:w1": {"slots": 3}}
    await contents.seed(state)
    assert near((await store.look("t1")).outlook, now) == BLANK | {"slots": 3, "extra": 1, "runs": [5]}


@pytest.mark.parametrize("world", ["blocked", "waiting"])
async def test_who_waits_for_something_else_is_told_nothing(store: TaskStore, contents: Contents, world: str) -> None:
    now = await contents.clock()
    await contents.seed(WORLDS[world](now))
    assert near((await store.look("t1")).outlook, now) == BLANK


@pytest.mark.parametrize("world", ["success", "failed", "buried", "cancelled"])
async def test_a_final_task_has_no_outlook(store: TaskStore, contents: Contents, world: str) -> None:
    await contents.seed(WORLDS[world](await contents.clock()))
    assert await store.look("t1") == Look(record=await store.get("t1"), events=[], outlook=None)


@pytest.mark.parametrize(("task_id", "caller"), [("t9", "*"), ("t1", "bob")])
async def test_an_unknown_and_a_foreign_task_look_the_same(
    store: TaskStore, contents: Contents, task_id: str, caller: str
) -> None:
    await contents.seed(ready(await contents.clock()))
    with pytest.raises(TaskNotFound):
        await store.look(task_id, caller)


async def test_of_a_large_fleet_some_are_looked_at(store: TaskStore, contents: Contents) -> None:
    now = await contents.clock()
    state = ready(now) | {f"worker:w{n}": {"slots": 7} for n in range(120)}
    await contents.seed(state | {"workers": ZSet({f"w{n}": now for n in range(120)})})
    outlook = (await store.look("t1")).outlook
    assert outlook is not None
    assert (outlook.slots, outlook.extra) == (120 * 7, 120)


@pytest.mark.parametrize(
    ("kind", "data", "kept"),
    [("success", {}, 1), ("fail", {}, 0), ("retry", {"delay_ms": 5_000}, 0), ("release", {}, 0), ("cancelled", {}, 0),
     ("bury", {}, 0), ("suspend", {}, 0)],
)  # fmt: skip
async def test_only_a_run_that_succeeds_is_measured(
    audited: TaskStore, contents: Contents, kind: SettleKind, data: dict[str, Any], kept: int
) -> None:
    await contents.seed(running(await contents.clock()))
    for _ in range(2):
        assert await audited.settle([Settlement(task_id="t1", fence=1, kind=kind, **data)]) == ["ok"]
    assert await contents.client.llen(contents.prefix + "pace:M:default") == kept


async def test_the_last_fifty_runs_are_kept_newest_first(audited: TaskStore, contents: Contents) -> None:
    now = await contents.clock()
    await contents.seed(running(now) | {"pace:M:default": [str(number) for number in range(50)]})
    assert await audited.settle([Settlement(task_id="t1", fence=1, kind="success", result="x")]) == ["ok"]
    found = await contents.client.lrange(contents.prefix + "pace:M:default", 0, -1)
    assert found == [About(4_000), *[str(number) for number in range(49)]]


# -- what a run has said so far


def token(number: int, text: str, kind: str = "text", *lost: int) -> StepNote:
    return StepNote(text, time.monotonic(), ("token", number, kind, *lost))


def begins(number: int) -> StepNote:
    return StepNote(f'{{"kind":"model","phase":"start","number":{number},"name":"M"}}', time.monotonic())


async def said(audited: TaskStore, *notes: StepNote) -> str | None:
    assert await audited.step([("t1", 1, StepBatch(1, notes))]) == ["ok"]
    return (await audited.look("t1")).record.partial


async def test_the_words_of_the_call_that_goes_on_are_its_partial_output(
    audited: TaskStore, contents: Contents
) -> None:
    await contents.seed(running(await contents.clock()))
    first = begins(1), token(1, "Let me "), token(1, "see."), begins(2), token(2, "hm", "reasoning")
    assert await said(audited, *first) == "Let me see."
    then = (*first, token(2, "The "), token(2, "käse", "text", 12), begins(3))
    assert await said(audited, *then) == "The …käse"
    look = await audited.look("t1")
    assert [event.type for event in look.events] == ["status", "status", "step", "step", "step"]
    assert (await audited.get("t1")).partial is None, "it is read from the stream, not kept twice"


async def test_words_of_a_lost_attempt_are_not_said_by_this_one(audited: TaskStore, contents: Contents) -> None:
    state = running(await contents.clock())
    state["task:t1"] |= {"fence": 2, "attempt": 2, "steps": 1, "tokens": 1, "partial": "done before"}
    state["events:t1"].append({"type": "token", "status": "running", "attempt": 1, "fence": 1, "at": 1, "number": 1,
                               "kind": "text", "text": "lost"})  # fmt: skip
    await contents.seed(state)
    assert (await audited.look("t1")).record.partial == "done before"


async def test_words_past_what_is_kept_are_not_passed_off_as_the_end(audited: TaskStore, contents: Contents) -> None:
    state = running(await contents.clock())
    state["task:t1"] |= {"tokens": 3_000, "partial": "an answer"}
    await contents.seed(state)
    assert await said(audited, begins(1), token(1, "one too many"), token(1, "more")) == "an answer"


async def test_partial_output_is_bounded(audited: TaskStore, contents: Contents) -> None:
    await contents.seed(running(await contents.clock()))
    text = await said(audited, begins(1), *[token(1, "x" * 20_000) for _ in range(4)])
    assert text == "x" * 65_536


async def test_a_task_that_does_not_run_any_more_has_what_its_record_keeps(
    audited: TaskStore, contents: Contents
) -> None:
    await contents.seed(running(await contents.clock()))
    assert await said(audited, begins(1), token(1, "half a sen")) == "half a sen"
    retry = Settlement(task_id="t1", fence=1, kind="retry", delay_ms=5_000, partial="half a sentence", error="x")
    assert await audited.settle([retry]) == ["ok"]
    assert (await audited.look("t1")).record.partial == "half a sentence"


# -- what it costs


async def test_a_look_is_one_round_trip_and_asks_the_same_of_a_long_queue(
    private_store: TaskStore, private_settings: Settings
) -> None:
    async def asked(task_id: str) -> int:
        async with connect(private_settings.redis_address) as client:
            before = await commands(client)
            await private_store.look(task_id)
            after = await commands(client)
        assert after.get("evalsha", 0) - before.get("evalsha", 0) == 1
        return sum(after.values()) - sum(before.values())

    async def submit(first: int, last: int) -> None:
        for number in range(first, last):
            await private_store.submit(NewTask(task_id=f"t{number}", caller="alice", message="x", model="M"))

    await submit(0, 2)
    await private_store.look("t0")  # loads the script
    few = await asked("t1")
    await submit(2, 500)
    assert await asked("t499") == few
