"""Real workers before a model's gate: what waits starts by itself when time opens it, at once when an event does."""

from operations.timeline import HELD
from taskstore.records import Kind
from tests.worker.conftest import eventually, new_task

WITHIN_S = 60
"""On a busy machine a worker takes a while to start."""


async def test_tasks_wait_while_their_model_cools_down_and_start_when_it_is_resumed(store, start_worker, ended):
    start_worker()
    failed = new_task("raise PROVIDER_NO_BALANCE")
    await store.submit(failed)
    assert (await ended(failed, WITHIN_S)).error_code == "provider_no_balance"
    tasks = [new_task("say after"), new_task("say at once", kind=Kind.INTERACTIVE)]
    for task in tasks:
        await store.submit(task)
    other = new_task("say other", model="Few")
    await store.submit(other)
    assert (await ended(other, WITHIN_S)).result == "other"
    overview = await store.overview()
    assert (overview.queued, [one.model for one in overview.cooling]) == (2, ["M"])
    assert (await store.history(tasks[0].task_id)).held.keys() == {"cooldown"} <= HELD.keys()

    await store.resume("model", "M")
    assert [(await ended(task, WITHIN_S)).status for task in tasks] == ["success", "success"]


async def test_a_cooldown_ends_by_itself_for_workers_that_heard_no_bell(store, start_worker, ended):
    start_worker()
    failed = new_task("call provider_rate_limited")
    await store.submit(failed)
    await ended(failed, WITHIN_S)
    assert [one.error_code for one in (await store.overview()).cooling] == ["provider_rate_limited"]
    tasks = [new_task("call answered") for _ in range(8)]
    for task in tasks:
        await store.submit(task)
    assert [(await ended(task, WITHIN_S)).status for task in tasks] == ["success"] * 8
    assert list((await store.overview()).cooling) == []


async def test_requests_a_minute_hold_back_starts_and_no_other_model(store, start_worker, ended):
    """Six may start at once, then one a second: the seventh and eighth wait, and nobody rings for them."""
    start_worker(worker_concurrency=20)
    slow = [new_task("say slow", model="Slow") for _ in range(8)]
    for task in slow:
        await store.submit(task)
    free = new_task("say free")
    await store.submit(free)
    assert (await ended(free, WITHIN_S)).status == "success"
    records = [await ended(task, WITHIN_S) for task in slow]
    assert [record.status for record in records] == ["success"] * 8
    first, last = (sorted(record.started_at for record in records)[index] for index in (0, -1))
    assert (last - first).total_seconds() >= 1.9
    held = [event.held for task in slow for event in (await store.history(task.task_id)).events if event.held]
    assert len(held) >= 2
    assert all(reasons.keys() == {"rate"} for reasons in held)


async def test_a_paused_model_starts_nothing_on_any_worker(store, start_worker, ended):
    start_worker()
    start_worker()
    await store.pause("model", "M")
    tasks = [new_task("say later") for _ in range(5)]
    for task in tasks:
        await store.submit(task)
    other = new_task("say other", model="Few")
    await store.submit(other)
    await ended(other, WITHIN_S)

    async def looked() -> bool:
        return (await store.history(tasks[-1].task_id)).held.keys() == {"pause"}

    await eventually(looked, WITHIN_S)
    assert (await store.overview()).running == 0
    await store.resume("model", "M")
    assert [(await ended(task, WITHIN_S)).status for task in tasks] == ["success"] * 5
