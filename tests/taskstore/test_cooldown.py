"""A model that fails is left alone by all workers for a time, then tried by a task at a time until a call succeeds."""

import time
from typing import Any

import pytest

from taskstore.claims import Claimed, ModelRules, SettleKind, Settlement
from taskstore.records import Cooling, Kind, NewTask
from taskstore.steps import StepBatch, StepNote
from taskstore.store import TaskStore

from .state import About, Contents

RULES = {"M": ModelRules(fallbacks=("F",)), "F": ModelRules()}
ALONE = {"M": ModelRules()}


class Fleet:
    """Workers of one deployment, whose registry says `rules`; each task's model is M unless said."""

    def __init__(self, store: TaskStore, contents: Contents) -> None:
        self.store = store
        self.contents = contents
        self.models: dict[str, int | None] = {"M": None, "N": None}
        self.rules = ALONE
        self.number = 0

    async def submit(self, *names: str, **fields: Any) -> None:
        for name in names:
            await self.store.submit(NewTask(**{"task_id": name, "caller": "a", "message": "x", "model": "M", **fields}))

    async def claim(self, room: int = 10) -> Claimed:
        self.number += 1
        return await self.store.claim(
            f"w{self.number % 2}", self.number, room=room, extra=0, models=self.models, rules=self.rules
        )

    async def started(self, room: int = 10) -> list[str]:
        return [task.task_id for task in (await self.claim(room)).tasks]

    async def tell(self, task_id: str, *calls: tuple[str | int, ...], first: int = 1) -> None:
        """What calls of a running task did, as its worker notes it."""
        notes = tuple(StepNote('{"number":1}', time.monotonic(), call) for call in calls)
        fence = (await self.store.get(task_id)).fence
        assert await self.store.step([(task_id, fence, StepBatch(first, notes))]) == ["ok"]

    async def settle(self, task_id: str, kind: SettleKind = "success", **data: Any) -> None:
        fence = (await self.store.get(task_id)).fence
        one = Settlement(task_id=task_id, fence=fence, kind=kind, result="x", **data)
        assert await self.store.settle([one]) == ["ok"]

    async def cooling(self) -> list[Cooling]:
        return list((await self.store.overview()).cooling)

    async def cooled_for(self, ms: int, model: str = "M") -> None:
        """So much of the cooldown passes."""
        key, field = self.contents.prefix + "gates", f"{model}|cooling"
        ends, *rest = (await self.contents.client.hget(key, field)).split(" ")
        await self.contents.client.hset(key, field, " ".join([str(int(ends) - ms), *rest]))

    async def bells(self) -> list[str]:
        found = await self.contents.client.keys(self.contents.prefix + "bell:*")
        await self.contents.client.delete(*found, "nothing")
        return sorted(key.rsplit(":", 1)[1] for key in found)


@pytest.fixture
def fleet(audited: TaskStore, contents: Contents) -> Fleet:
    return Fleet(audited, contents)


@pytest.mark.parametrize(
    ("code", "row", "ms"),
    [
        ("provider_rate_limited", 1, 2_000),
        ("provider_unavailable", 5, 5_000),
        ("provider_timeout", 5, 5_000),
        ("provider_bad_response", 5, 5_000),
        ("provider_no_balance", 1, 30_000),
        ("provider_auth", 3, 30_000),
        ("model_unavailable", 3, 30_000),
    ],
)
async def test_so_many_failures_in_a_row_close_a_model(fleet: Fleet, code: str, row: int, ms: int) -> None:
    await fleet.submit("t1", "t2")
    assert await fleet.started(room=1) == ["t1"]
    await fleet.tell("t1", *[(code, "M")] * (row - 1))
    assert await fleet.cooling() == []
    await fleet.tell("t1", *[(code, "M")] * row, first=1)  # what was written before counts once
    assert await fleet.cooling() == [Cooling("M", About(ms), code)]  # type: ignore[arg-type]  # equal to what is near

    claimed = await fleet.claim()
    assert (claimed.tasks, claimed.more) == ([], False)
    assert claimed.next_due_ms == About(ms)
    assert (await fleet.store.get("t2")).status == "pending"


async def test_a_success_between_begins_the_row_anew_and_so_does_a_pause_of_a_minute(fleet: Fleet) -> None:
    await fleet.submit("t1")
    await fleet.claim()
    failure = ("provider_unavailable", "M")
    await fleet.tell("t1", *[failure] * 4, ("answered", "M"), *[failure] * 4)
    assert await fleet.cooling() == []
    key = fleet.contents.prefix + "gates"
    count, last = (await fleet.contents.client.hget(key, "M|faults")).split()
    await fleet.contents.client.hset(key, "M|faults", f"{count} {int(last) - 61_000}")
    await fleet.tell("t1", failure, first=10)
    assert await fleet.cooling() == []


@pytest.mark.parametrize(
    "code",
    ["provider_bad_request", "content_blocked", "context_too_long", "max_iterations", "empty_answer", "internal"],
)
async def test_what_one_task_is_to_blame_for_closes_nothing(fleet: Fleet, code: str, contents: Contents) -> None:
    await fleet.submit("t1")
    await fleet.claim()
    await fleet.tell("t1", *[(code, "M")] * 20)
    await fleet.settle("t1", "fail", fault=code, error_code=code)
    assert "gates" not in await contents.snapshot()


@pytest.mark.parametrize(("asked", "ms"), [(7_000, 7_000), (10, 1_000), (4_000_000, 60_000)])
async def test_retry_after_closes_at_once_for_as_long_within_bounds(fleet: Fleet, asked: int, ms: int) -> None:
    await fleet.submit("t1")
    await fleet.claim()
    await fleet.tell("t1", ("provider_unavailable", "M", asked))
    assert [one.left_ms for one in await fleet.cooling()] == [About(ms)]


async def test_a_closed_model_says_nothing_new_but_a_later_retry_after_counts(fleet: Fleet) -> None:
    await fleet.submit("t1")
    await fleet.claim()
    failure = ("provider_rate_limited", "M")
    await fleet.tell("t1", *[failure] * 30, ("answered", "M"))
    assert [one.left_ms for one in await fleet.cooling()] == [About(2_000)]
    await fleet.tell("t1", (*failure, 20_000), (*failure, 3_000), first=32)
    assert [one.left_ms for one in await fleet.cooling()] == [About(20_000)]


async def test_the_same_failure_later_takes_twice_as_long_each_time_up_to_a_most(fleet: Fleet) -> None:
    told = []
    for number in range(7):
        await fleet.submit(f"t{number}")
        assert await fleet.started() == [f"t{number}"]
        await fleet.tell(f"t{number}", ("provider_rate_limited", "M"))
        await fleet.settle(f"t{number}", "fail")
        (one,) = await fleet.cooling()
        told.append(one.left_ms)
        await fleet.cooled_for(one.left_ms + 1_000)
    assert told == [About(ms) for ms in (2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000)]


async def test_one_task_at_a_time_tries_a_model_until_a_call_succeeds(fleet: Fleet) -> None:
    await fleet.submit("t1", "t2", "t3", "t4")
    assert await fleet.started(room=1) == ["t1"]
    await fleet.settle("t1", "fail", fault="provider_rate_limited")
    await fleet.cooled_for(2_500)
    assert await fleet.started() == ["t2"]
    claimed = await fleet.claim()
    assert (claimed.tasks, claimed.next_due_ms) == ([], None)  # time alone opens nothing

    await fleet.settle("t2", "cancelled")  # says nothing of the model
    assert await fleet.started() == ["t3"]
    await fleet.bells()
    await fleet.tell("t3", ("answered", "M"))
    assert await fleet.cooling() == []
    assert await fleet.bells() == ["b"]  # who waited is woken, while t3 still runs
    assert await fleet.started() == ["t4"]


async def test_a_try_whose_worker_dies_is_followed_by_another(fleet: Fleet) -> None:
    await fleet.submit("t1", "t2")
    await fleet.started(room=1)
    await fleet.settle("t1", "fail", fault="provider_rate_limited")
    await fleet.cooled_for(2_500)
    claimed = await fleet.claim()
    assert [task.task_id for task in claimed.tasks] == ["t2"]
    await fleet.store.sweep(dead=(await fleet.store.get("t2")).worker or "")
    assert await fleet.started() == ["t2"]  # rescued, and tries again


async def test_other_models_go_on_and_a_lost_reply_is_given_again(fleet: Fleet) -> None:
    await fleet.submit("t1")
    await fleet.started()
    await fleet.settle("t1", "fail", fault="provider_no_balance")
    await fleet.submit(*[f"m{number}" for number in range(30)])
    await fleet.submit("m", kind=Kind.INTERACTIVE)
    await fleet.submit("n1", "n2", model="N")
    assert await fleet.started(room=3) == ["n1", "n2"]
    fleet.number -= 1
    assert await fleet.started(room=3) == ["n1", "n2"]


async def test_a_model_without_cooldown_is_never_left_alone(fleet: Fleet) -> None:
    await fleet.submit("t1", "t2")
    await fleet.started(room=1)
    await fleet.settle("t1", "fail", fault="provider_no_balance")
    fleet.rules = {"M": ModelRules(cooldown=False)}  # it was changed since
    assert await fleet.started() == ["t2"]


# -- fallbacks


async def test_tasks_start_at_the_first_fallback_that_may_and_count_there(fleet: Fleet) -> None:
    fleet.models = {"M": 5, "F": 2, "G": None}
    fleet.rules = {"M": ModelRules(fallbacks=("F", "G")), "F": ModelRules(), "G": ModelRules()}
    await fleet.submit("t0")
    assert [task.avoid for task in (await fleet.claim()).tasks] == [()]
    await fleet.settle("t0", "fail", fault="provider_no_balance")
    await fleet.submit("t1", "t2", "t3")
    await fleet.submit("f1", model="F")
    claimed = await fleet.claim()
    assert [(task.task_id, list(task.avoid)) for task in claimed.tasks] == [
        (name, ["M"]) for name in ("t1", "t2", "t3")
    ]
    at = [(await fleet.store.get(name)).index for name in ("t1", "t2", "t3", "f1")]
    assert at == ["leases:F:b", "leases:F:b", "leases:G:b", "ready:F:b"]
    # the same answer when the reply is lost
    fleet.number -= 1
    assert [list(task.avoid) for task in (await fleet.claim()).tasks] == [["M"]] * 3

    await fleet.bells()
    await fleet.settle("t1")
    assert await fleet.bells() == ["b"]  # the slot that is free is the fallback's
    assert await fleet.started() == ["f1"]


async def test_a_fallback_that_cools_down_too_is_passed_over_and_named(fleet: Fleet) -> None:
    fleet.models = {"M": None, "F": None}
    fleet.rules = RULES
    await fleet.submit("f1", model="F")
    await fleet.started()
    await fleet.settle("f1", "fail", fault="provider_no_balance")
    await fleet.submit("t1")
    assert [list(task.avoid) for task in (await fleet.claim()).tasks] == [["F"]]
    await fleet.settle("t1", "fail", fault="provider_rate_limited")
    await fleet.submit("t2")
    claimed = await fleet.claim()
    assert claimed.tasks == []
    assert claimed.next_due_ms == About(2_000)  # the one that opens first

    # F may be tried again: by a task that is started at it, while M is still left alone
    await fleet.cooled_for(31_000, "F")
    assert [(task.task_id, list(task.avoid)) for task in (await fleet.claim()).tasks] == [("t2", ["M"])]
    await fleet.submit("f2", model="F")
    assert await fleet.started() == []
    await fleet.tell("t2", ("answered", "F"))
    assert await fleet.started() == ["f2"]


async def test_a_model_that_may_be_tried_is_tried_by_one_and_the_others_start_at_its_fallback(fleet: Fleet) -> None:
    fleet.models = {"M": None, "F": None}
    fleet.rules = RULES
    await fleet.submit("t1")
    await fleet.started()
    await fleet.settle("t1", "fail", fault="provider_rate_limited")
    await fleet.cooled_for(3_000)
    await fleet.submit("t2", "t3", "t4")
    assert [(task.task_id, list(task.avoid)) for task in (await fleet.claim()).tasks] == [
        ("t2", []), ("t3", ["M"]), ("t4", ["M"]),
    ]  # fmt: skip


async def test_a_limit_or_a_pause_is_no_reason_to_fall_back(fleet: Fleet) -> None:
    fleet.models = {"M": 1, "F": None}
    fleet.rules = RULES
    await fleet.submit("t1", "t2")
    assert await fleet.started() == ["t1"]
    await fleet.settle("t1", "fail", fault="provider_no_balance")
    await fleet.store.pause("model", "M")
    assert await fleet.started() == []
    await fleet.store.resume("model", "M")  # and its cooldown is over too
    assert [list(task.avoid) for task in (await fleet.claim()).tasks] == [[]]
