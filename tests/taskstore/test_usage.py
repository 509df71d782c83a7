"""The bill: tokens and cost by day, caller, user, agent and model; kept when the records are long gone."""

from datetime import UTC, datetime
from typing import Literal

import pytest

from taskstore.claims import SettleKind, Settlement
from taskstore.records import NewTask, TokenUsage
from taskstore.store import TaskStore

from .state import Contents
from .test_fairness import Worker

By = Literal["caller", "user", "agent", "model"]
SPENT = TokenUsage(prompt_tokens=100, completion_tokens=20, total_tokens=120, cached_tokens=5, reasoning_tokens=7)


async def spend(
    store: TaskStore, task_id: str, *, kind: SettleKind = "success", usage: TokenUsage | None = SPENT,
    cost: float | None = 0.001, answered_by: str | None = None, **fields: object,
) -> None:  # fmt: skip
    await store.submit(NewTask(task_id=task_id, message="x", **({"caller": "alice", "model": "M"} | fields)))  # type: ignore[arg-type]  # each test names real ones
    assert await Worker(store, f"worker of {task_id}").take(1, models={"M": None, "N": None}) == [task_id]
    one = Settlement(task_id=task_id, fence=1, kind=kind, usage=usage, cost_usd=cost, answered_by=answered_by)
    for _ in range(2):  # a settle that is sent again charges nothing more
        assert await store.settle([one]) == ["ok"]


async def totals(store: TaskStore, by: By) -> dict[str, tuple[int, int, int, int, float | None, int]]:
    rows = await store.usage(by=by, since_days=1)
    assert {row.day for row in rows} <= {datetime.now(UTC).date().isoformat()}
    return {
        row.name: (row.tasks, row.prompt_tokens, row.completion_tokens, row.total_tokens, row.cost_usd, row.unpriced)
        for row in rows
    }


async def test_the_totals_are_summed_by_each_name(audited: TaskStore) -> None:
    await spend(audited, "t1", user_id="u", agent="helper")
    await spend(audited, "t2", user_id="u", model="N", cost=0.0000005)
    await spend(audited, "t3", caller="bob", answered_by="N")
    one, half = 0.001, 0.0010005
    assert await totals(audited, "caller") == {"alice": (2, 200, 40, 240, half, 0), "bob": (1, 100, 20, 120, one, 0)}
    assert await totals(audited, "user") == {"u": (2, 200, 40, 240, half, 0), "": (1, 100, 20, 120, one, 0)}
    assert await totals(audited, "agent") == {
        "helper": (1, 100, 20, 120, one, 0), "default": (2, 200, 40, 240, half, 0),
    }  # fmt: skip
    # a fallback's spending is the model's that answered
    assert await totals(audited, "model") == {"M": (1, 100, 20, 120, one, 0), "N": (2, 200, 40, 240, half, 0)}


async def test_every_attempt_is_charged_and_the_task_counted_once(audited: TaskStore) -> None:
    await spend(audited, "t1", kind="retry")
    assert await Worker(audited, "w2").take(1) == ["t1"]
    await audited.settle([Settlement(task_id="t1", fence=2, kind="success", usage=SPENT, cost_usd=0.002)])
    assert await totals(audited, "caller") == {"alice": (1, 200, 40, 240, 0.003, 0)}
    record = await audited.get("t1")
    assert record.usage == TokenUsage(200, 40, 240, 10, 14)
    assert record.cost_usd == 0.003


async def test_an_unknown_price_is_unknown_and_never_nothing(audited: TaskStore) -> None:
    await spend(audited, "t1", cost=None)
    assert (await audited.get("t1")).cost_usd is None
    assert await totals(audited, "model") == {"M": (1, 100, 20, 120, None, 1)}
    await spend(audited, "t2", cost=0.5)
    assert await totals(audited, "model") == {"M": (2, 200, 40, 240, 0.5, 1)}
    # a free call has a price, and it is 0
    await spend(audited, "t3", cost=0.0)
    assert (await audited.get("t3")).cost_usd == 0.0


async def test_an_attempt_that_called_no_model_costs_nothing(audited: TaskStore, contents: Contents) -> None:
    await spend(audited, "t1", usage=None, cost=None)
    record = await audited.get("t1")
    assert (record.usage, record.cost_usd) == (None, None)
    assert not [key for key in await contents.snapshot() if key.startswith("usage:")]


async def test_a_lost_lease_charges_nothing(audited: TaskStore) -> None:
    await audited.submit(NewTask(task_id="t1", caller="alice", message="x", model="M"))
    await Worker(audited).take(1)
    one = Settlement(task_id="t1", fence=2, kind="success", usage=SPENT, cost_usd=1.0)
    assert await audited.settle([one]) == ["lease_lost"]
    assert await totals(audited, "caller") == {}


async def test_the_bill_survives_the_record_and_ends_after_its_days(audited: TaskStore, contents: Contents) -> None:
    await spend(audited, "t1")
    now = await contents.clock()
    await contents.client.zadd(contents.prefix + "gone", {"t1 alice": now - 100})
    await audited.sweep()
    await audited.sweep()  # the first sweep of a deployment follows a gap, and forgets all the same
    found = await contents.snapshot()
    assert "task:t1" not in found
    assert await totals(audited, "caller") == {"alice": (1, 100, 20, 120, 0.001, 0)}
    day = now // 86_400_000
    # ninety days from the day's end
    assert found["ttl"][f"usage:{day}"] == pytest.approx((day + 91) * 86_400_000 - now, abs=2_000)


async def test_days_are_apart_and_only_those_asked_for_are_told(audited: TaskStore, contents: Contents) -> None:
    await spend(audited, "t1")
    today = await contents.clock() // 86_400_000
    yesterday = contents.prefix + f"usage:{today - 1}"
    await contents.client.copy(contents.prefix + f"usage:{today}", yesterday)
    assert len(await audited.usage(by="caller", since_days=1)) == 1
    rows = await audited.usage(by="caller", since_days=2)
    assert [row.day for row in rows] == [
        datetime.fromtimestamp(day * 86_400, UTC).date().isoformat() for day in (today - 1, today)
    ]


async def test_a_user_id_cannot_put_its_spending_on_another_name(audited: TaskStore) -> None:
    await spend(audited, "t1", user_id="u\x1fhelper\x1fN")
    one = (1, 100, 20, 120, 0.001, 0)
    assert await totals(audited, "user") == {"u\x1fhelper\x1fN": one}
    assert (await totals(audited, "agent"), await totals(audited, "model")) == ({"default": one}, {"M": one})
    assert await totals(audited, "caller") == {"alice": one}
