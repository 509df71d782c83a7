"""Tasks that were there when workers died run apart from others, and one worker is asked to see to it."""

from typing import Any

import pytest

from core_config import Settings
from taskstore.claims import Claimed, ModelRules, QuarantinePart, Settlement
from taskstore.records import Kind, NewTask
from taskstore.store import TaskStore

from .state import About, Contents

ANY: dict[str, int | None] = {"M": None, "N": None}


class Ward:
    """Claims as workers and their quarantine workers make them."""

    def __init__(self, store: TaskStore, contents: Contents) -> None:
        self.store = store
        self.contents = contents
        self.number = 0

    async def submit(self, *names: str, **fields: Any) -> None:
        for name in names:
            await self.store.submit(NewTask(**{"task_id": name, "caller": "a", "message": "x", "model": "M", **fields}))

    async def crash(self, *names: str, times: int = 2, **fields: Any) -> None:
        """Submits tasks, and lets as many workers die with them."""
        await self.submit(*names, **fields)
        for crash in range(times):
            worker = f"dead{crash}"
            assert {task.task_id for task in (await self.claim(worker, room=99)).tasks} >= set(names)
            await self.store.sweep(dead=worker)

    async def claim(
        self, worker: str, part: QuarantinePart = "leave", *, of: str | None = None, room: int = 1, **options: Any
    ) -> Claimed:
        self.number += 1
        return await self.store.claim(
            worker, self.number, room=room, extra=0, quarantine=part, attendant=of, **{"models": ANY, **options}
        )

    async def asked(self, worker: str, **options: Any) -> bool:
        return (await self.claim(worker, "offer", **options)).attend

    async def alone(self, of: str, **options: Any) -> list[str]:
        """What the quarantine worker of `of` gets."""
        return [task.task_id for task in (await self.claim(f"{of}-q", "only", of=of, **options)).tasks]

    async def settle(self, task_id: str, **data: Any) -> None:
        fence = (await self.store.get(task_id)).fence
        one = Settlement(**{"task_id": task_id, "fence": fence, "kind": "success", "result": "x", **data})
        assert await self.store.settle([one]) == ["ok"]

    async def passes(self, ms: int) -> None:
        """For who stands by."""
        key = self.contents.prefix + "attending"
        for name, until in await self.contents.client.zrange(key, 0, -1, withscores=True):
            await self.contents.client.zadd(key, {name: until - ms})


@pytest.fixture
def ward(audited: TaskStore, contents: Contents) -> Ward:
    return Ward(audited, contents)


async def test_only_a_quarantine_worker_gets_them_and_it_gets_no_others(ward: Ward) -> None:
    await ward.crash("q1", "q2")
    await ward.submit("t1")
    await ward.submit("chat", kind=Kind.INTERACTIVE)
    assert (await ward.store.get("q1")).index == "ready:quarantine"
    assert await ward.alone("w1", room=9) == ["q1", "q2"]
    claimed = await ward.claim("w1", room=9)
    assert [task.task_id for task in claimed.tasks] == ["chat", "t1"]


async def test_two_run_at_once_over_all_workers(ward: Ward) -> None:
    await ward.crash("q1", "q2", "q3")
    assert [await ward.alone(name) for name in ("w1", "w2", "w3")] == [["q1"], ["q2"], []]
    assert not await ward.asked("w4")
    await ward.settle("q1")
    assert await ward.alone("w3") == ["q3"]


async def test_an_interactive_one_and_one_that_was_retried_run_alone_too(ward: Ward) -> None:
    await ward.crash("chat", kind=Kind.INTERACTIVE)
    assert await ward.alone("w1") == ["chat"]
    await ward.settle("chat", kind="retry", error_code="internal", error="why")
    assert await ward.alone("w1") == ["chat"]
    assert (await ward.store.get("chat")).crashes == 2


async def test_one_worker_is_asked_to_attend_and_others_only_when_there_is_more_to_do(ward: Ward) -> None:
    await ward.submit("t0")
    assert not await ward.asked("w0")
    await ward.crash("q1")
    assert not (await ward.claim("w1", "leave")).attend
    assert await ward.asked("w1")
    assert not await ward.asked("w2")
    await ward.crash("q2", "q3")
    assert await ward.asked("w2")
    assert not await ward.asked("w3"), "not more than may run at once"
    assert await ward.alone("w1") == ["q1"]
    assert not await ward.asked("w3"), "one runs, and one is being started"
    assert await ward.alone("w2") == ["q2"]
    await ward.settle("q1")
    assert await ward.alone("w1") == ["q3"]


async def test_a_quarantine_worker_that_stands_by_is_enough_while_it_looks(ward: Ward) -> None:
    assert await ward.alone("w1") == []
    await ward.crash("q1")
    assert not await ward.asked("w2")
    await ward.passes(3000)
    assert await ward.asked("w2")


async def test_a_worker_whose_process_ended_or_never_started_is_asked_again(ward: Ward) -> None:
    await ward.crash("q1")
    assert await ward.asked("w1")
    assert await ward.asked("w1"), "it still wants to: it has none"
    await ward.passes(58_000)
    assert not await ward.asked("w2")
    await ward.passes(2000)
    assert await ward.asked("w2"), "w1 had long enough"
    await ward.store.sweep(dead="w2")
    assert await ward.asked("w3"), "w2 is known to be dead"
    assert await ward.contents.client.pttl(ward.contents.prefix + "attending") == About(60_000)


async def test_a_worker_that_was_not_seen_for_a_lease_keeps_nobody_else_from_attending(
    ward: Ward, settings: Settings
) -> None:
    await ward.crash("q1")
    assert await ward.asked("w1")
    workers, lease_ms = ward.contents.prefix + "workers", settings.lease_seconds * 1000
    await ward.contents.client.zincrby(workers, 2000 - lease_ms, "w1")
    assert not await ward.asked("w2"), "it may still be starting one"
    await ward.contents.client.zincrby(workers, -2000, "w1")
    assert await ward.asked("w2")


async def test_the_same_claim_again_asks_nobody(ward: Ward) -> None:
    await ward.crash("q1")
    first, again = [await ward.store.claim("w1", 99, room=1, extra=0, models=ANY, quarantine="offer") for _ in range(2)]
    assert (first.attend, again.attend) == (True, False)
    assert await ward.asked("w1")


@pytest.mark.parametrize("why", ["model unknown", "model paused", "agent paused", "cooling down"])
async def test_nobody_is_asked_for_tasks_that_may_not_be_started(ward: Ward, why: str) -> None:
    await ward.crash("q1")
    rules = {"M": ModelRules()}
    match why:
        case "model paused":
            await ward.store.pause("model", "M")
        case "agent paused":
            await ward.store.pause("agent", "default")
        case "cooling down":
            await ward.submit("t1")
            await ward.claim("w1")
            await ward.settle("t1", kind="fail", fault="provider_no_balance")
    options = {"models": {"N": None}} if why == "model unknown" else {"rules": rules}
    assert not await ward.asked("w1", **options)
    assert await ward.alone("w1", **options) == []
    await ward.passes(3000)
    await ward.crash("q2", model="N", agent="other")
    assert await ward.asked("w1", **options)
    assert await ward.alone("w1", **options) == ["q2"]
    if why.endswith("paused"):
        await ward.store.resume("model", "M")
        await ward.store.resume("agent", "default")
        assert await ward.alone("w2", **options) == ["q1"]


async def test_an_entry_without_a_task_is_cleared_away(store: TaskStore, contents: Contents) -> None:
    ward = Ward(store, contents)  # not audited: an audit would name the stray
    lane = contents.prefix + "ready:quarantine"
    await contents.client.zadd(lane, {"stray": 1})
    assert await ward.asked("w1")
    assert await ward.alone("w1") == []
    assert not await contents.client.exists(lane)
    assert not await ward.asked("w1")


@pytest.mark.parametrize(("max_crashes", "crashes"), [(2, 1), (3, 2), (8, 2)])
async def test_the_last_run_that_max_crashes_allows_is_always_alone(
    max_crashes: int, crashes: int, store: TaskStore, contents: Contents, settings: Settings
) -> None:
    few = TaskStore(store.redis, settings.model_copy(update={"max_crashes": max_crashes}))
    ward = Ward(few, contents)
    await ward.crash("bad", "good", times=crashes)
    assert [(await few.get(name)).index for name in ("bad", "good")] == ["ready:quarantine"] * 2
    assert await ward.alone("w1") == ["bad"]
    await few.sweep(dead="w1-q")
    assert await ward.alone("w1") == ["good"]  # it came later, but took fewer down
    await ward.settle("good")
    for _ in range(crashes + 1, max_crashes):
        assert await ward.alone("w1") == ["bad"]
        await few.sweep(dead="w1-q")
    assert ((await few.get("bad")).error_code, (await few.get("good")).status) == ("worker_lost", "success")
    assert await few.audit() == []


async def test_one_that_takes_each_process_down_lets_the_others_of_its_lane_go_first(
    store: TaskStore, contents: Contents, settings: Settings
) -> None:
    patient = TaskStore(store.redis, settings.model_copy(update={"max_crashes": 8}))
    ward = Ward(patient, contents)
    await ward.crash("bad")
    await ward.alone("w1")
    await patient.sweep(dead="w1-q")
    await ward.crash("good", "other")
    assert await ward.alone("w1") == ["good"]
    assert await ward.alone("w2") == ["other"]
    await ward.settle("other")
    assert await ward.alone("w2") == ["bad"]
    clock = await contents.client.hget(contents.prefix + "fair", "*")
    assert float(clock) < 10  # the fair order's is the place that a task was given, not where it stands in the lane
    assert await patient.audit() == []


async def test_with_one_crash_there_is_no_other_run_and_all_that_were_there_end(
    store: TaskStore, contents: Contents, settings: Settings
) -> None:
    ward = Ward(TaskStore(store.redis, settings.model_copy(update={"max_crashes": 1})), contents)
    await ward.crash("bad", "good", times=1)
    assert [(await ward.store.get(name)).error_code for name in ("bad", "good")] == ["worker_lost"] * 2
