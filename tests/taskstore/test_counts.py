"""What operators count: each thing once, by its labels, however often it is told and whoever dies meanwhile.

What each edge of a task's life counts stands in the edges' own cases (edges_worker.py, edges_others.py), which compare
the whole hash after the verb and after the same verb once more. Here is what they do not come across.
"""

import re

import pytest

from monitoring.metrics import STORED
from taskstore.claims import Settlement
from taskstore.progress import Progress, Spent
from taskstore.records import Kind, NewTask, TokenUsage
from taskstore.scripts import FOLDER, SHARED, VERBS
from taskstore.steps import StepBatch
from taskstore.store import TaskStore

from .state import Contents
from .test_fairness import Worker

USED = TokenUsage(100, 20, 120)


async def counts(store: TaskStore) -> dict[str, int]:
    """By metric and label values as in `metric label label`."""
    return {" ".join(key): count for key, count in (await store.measures()).counts.items()}


async def spending(store: TaskStore) -> dict[str, int]:
    """The counts of tokens and money."""
    words = ("agent_tokens", "agent_cost", "agent_unpriced")
    return {key: count for key, count in (await counts(store)).items() if key.startswith(words)}


def task(task_id: str, **fields: object) -> NewTask:
    return NewTask(**({"task_id": task_id, "caller": "alice", "message": "x", "model": "M"} | fields))  # type: ignore[arg-type]  # each test names real ones


async def running(store: TaskStore, task_id: str, **fields: object) -> None:
    await store.submit(task(task_id, **fields))
    assert await Worker(store, f"worker of {task_id}").take(1, models={"M": None, "N": None}) == [task_id]


def spent(calls: int, *, cost: float | None = 0.001, by: str = "N") -> Spent:
    usage = TokenUsage(100 * calls, 20 * calls, 120 * calls)
    return Spent(usage=usage, cost_usd=None if cost is None else cost * calls, answered_by=by)


def step(number: int, spending: Spent) -> StepBatch:
    return StepBatch(1, (), Progress(number, {"a": b"1"}, [], spending))


async def test_submits_are_counted_by_who_and_what_and_a_repeat_is_none(audited: TaskStore) -> None:
    first = task("t1", kind=Kind.INTERACTIVE, agent="helper", idempotency_key="k")
    for new in (first, first, task("t2", idempotency_key="k"), task("t3"), task("t4"), task("t5", caller="bob")):
        await audited.submit(new)
    assert await counts(audited) == {
        "agent_tasks_submitted_total alice helper M interactive": 1,
        "agent_tasks_submitted_total alice default M batch": 2,
        "agent_tasks_submitted_total bob default M batch": 1,
    }


async def test_a_batch_counts_each_of_its_tasks(audited: TaskStore) -> None:
    ids = ["t1", "t2", "t3"]
    for task_id in ids:
        await audited.submit(task(task_id))
    assert await Worker(audited).take(3) == ids
    # one twice, one with another's fence
    fences = [("t1", 1), ("t2", 1), ("t1", 1), ("t3", 2)]
    batch = [Settlement(task_id=one, fence=fence, kind="success", result="x") for one, fence in fences]
    assert await audited.settle(batch) == ["ok", "ok", "ok", "lease_lost"]
    assert await counts(audited) == {
        "agent_tasks_submitted_total alice default M batch": 3,
        "agent_attempts_total default M": 3,
        "agent_tasks_finished_total alice default M success ": 2,
    }


async def test_a_task_that_another_one_interrupts_is_counted_with_the_submit(audited: TaskStore) -> None:
    for new in (task("t1", session_id="s"), task("t2", session_id="s", on_busy="interrupt")):
        await audited.submit(new)
    found = await counts(audited)
    assert found["agent_tasks_finished_total alice default M cancelled cancelled"] == 1


async def test_tokens_and_money_are_the_models_that_answered(audited: TaskStore) -> None:
    await running(audited, "t1", agent="helper")
    end = Settlement(task_id="t1", fence=1, kind="success", result="x", usage=USED, cost_usd=0.0000015, answered_by="N")
    for _ in range(2):
        assert await audited.settle([end]) == ["ok"]
    assert await spending(audited) == {
        "agent_tokens_total alice helper N prompt": 100,
        "agent_tokens_total alice helper N completion": 20,
        "agent_cost_usd_total alice helper N": 1_500,
    }


async def test_what_steps_told_counts_though_the_worker_died_and_once_though_it_lived(audited: TaskStore) -> None:
    await running(audited, "t1")
    for _ in range(2):
        assert await audited.step([("t1", 1, step(1, spent(1)))]) == ["ok"]
    one = {
        "agent_tokens_total alice default N prompt": 100,
        "agent_tokens_total alice default N completion": 20,
        "agent_cost_usd_total alice default N": 1_000_000,
    }
    assert await spending(audited) == one
    await audited.sweep("worker of t1")
    assert await spending(audited) == one
    # the next attempt tells twice what it has spent since it began, and then how it ended
    assert await Worker(audited, "w2").take(1) == ["t1"]
    assert await audited.step([("t1", 2, step(1, spent(1))), ("t1", 2, step(2, spent(2)))]) == ["ok", "ok"]
    assert await spending(audited) == {key: 3 * count for key, count in one.items()}
    end = Settlement(
        task_id="t1", fence=2, kind="success", result="x", usage=spent(3).usage, cost_usd=0.003, answered_by="N"
    )
    for _ in range(2):
        assert await audited.settle([end]) == ["ok"]
    assert await spending(audited) == {key: 4 * count for key, count in one.items()}


async def test_steps_of_a_lost_lease_spend_nothing(audited: TaskStore) -> None:
    await running(audited, "t1")
    assert await audited.step([("t1", 2, step(1, spent(1)))]) == ["lease_lost"]
    assert await spending(audited) == {}


async def test_a_price_that_becomes_unknown_takes_nothing_back(audited: TaskStore) -> None:
    """On the bill the attempt has no price then. A counter that shrinks would look like one that began again."""
    await running(audited, "t1")
    await audited.step([("t1", 1, step(1, spent(1)))])
    end = Settlement(task_id="t1", fence=1, kind="success", result="x", usage=USED, cost_usd=None, answered_by="N")
    assert await audited.settle([end]) == ["ok"]
    found = await spending(audited)
    assert found["agent_cost_usd_total alice default N"] == 1_000_000
    assert found["agent_unpriced_answers_total N"] == 1


async def test_a_task_that_is_handed_on_is_a_release_of_its_own(audited: TaskStore) -> None:
    await audited.report("w1", {"default": None})
    await running(audited, "t1")
    await audited.report("w2", {"default": None})
    await Worker(audited, "w2").take(1)  # is alive
    end = Settlement(task_id="t1", fence=1, kind="fail", error_code="agent_unavailable")
    for _ in range(2):
        assert await audited.settle([end]) == ["ok"]
    found = await counts(audited)
    assert found["agent_releases_total handed_on"] == 1
    assert not [key for key in found if key.startswith("agent_tasks_finished_total")]


async def test_what_a_pause_a_read_or_a_purge_does_is_not_counted(audited: TaskStore, contents: Contents) -> None:
    await running(audited, "t1")
    await audited.settle([Settlement(task_id="t1", fence=1, kind="bury", error_code="internal")])
    before = await contents.client.hgetall(contents.prefix + "counts")
    await audited.pause("model", "M")
    await audited.resume("model", "M")
    await audited.get("t1")
    for _ in range(2):
        await audited.purge("t1", 1)
    assert await contents.client.hgetall(contents.prefix + "counts") == before


SCRIPTS = {name: re.sub(r"--.*", "", (FOLDER / f"{name}.lua").read_text()) for name in (*SHARED, *VERBS)}


def test_the_scripts_count_what_is_declared_with_as_many_labels() -> None:
    counted = set()
    for code in SCRIPTS.values():
        for metric, by, labels in re.findall(r"tally\('(\w+)', ((?:\([^)]*\)|[^,(]|\w+\([^)]*\))+), ([^\n]*)\)", code):
            assert by
            counted.add((metric, labels.count(",") + 1))
    declared = {(stored.name, len(stored.labels)) for stored in STORED if stored.kind == "counter"}
    assert counted == declared


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_counts_writes_what_it_counted(verb: str) -> None:
    counts_something = re.search(r"\b(tally|final|cancel|charge|keep)\(", SCRIPTS[verb])
    assert bool(counts_something) == ("wind_up()" in SCRIPTS[verb])
