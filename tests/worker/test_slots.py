"""Who runs when: slots, extra slots, lanes and limits, with real workers. Runs are held by a file, not by the clock."""

from taskstore.records import Kind
from tests.worker.conftest import eventually, new_task


async def test_a_worker_fills_all_its_slots(store, tmp_path, start_worker, ended):
    start_worker(worker_concurrency=50)
    tasks = [new_task(f"hold {tmp_path}/go") for _ in range(60)]
    for task in tasks:
        await store.submit(task)

    async def full() -> bool:
        overview = await store.overview()
        return (overview.running, overview.queued) == (50, 10)

    await eventually(full)
    (tmp_path / "go").touch()
    for task in tasks:
        assert (await ended(task)).status == "success"


async def test_an_interactive_task_starts_in_an_extra_slot_while_all_others_are_taken(
    store, tmp_path, start_worker, ended
):
    start_worker(worker_concurrency=4)
    held = [new_task(f"hold {tmp_path}/go") for _ in range(200)]
    for task in held:
        await store.submit(task)

    async def full() -> bool:
        return (await store.overview()).running == 4

    await eventually(full)
    chat = new_task("say at once", kind=Kind.INTERACTIVE)
    await store.submit(chat)
    assert (await ended(chat)).result == "at once"
    assert (await store.overview()).running == 4
    for task in held[10:]:
        await store.cancel(task.task_id)
    (tmp_path / "go").touch()
    assert [(await ended(task)).status for task in held[:10]] == ["success"] * 10


async def test_a_models_limit_holds_over_all_workers(store, tmp_path, start_worker, ended):
    start_worker()
    start_worker()
    limited = [new_task(f"hold {tmp_path}/go", model="Few") for _ in range(6)]
    free = [new_task("say free") for _ in range(6)]
    for task in [*limited, *free]:
        await store.submit(task)
    for task in free:
        assert (await ended(task)).status == "success"
    overview = await store.overview()
    assert (overview.running, overview.queued) == (2, 4)
    (tmp_path / "go").touch()
    for task in limited:
        assert (await ended(task)).status == "success"


async def test_a_model_that_no_worker_knows_leaves_its_task_in_the_queue(store, start_worker, ended):
    start_worker()
    unknown, known = new_task(model="Tomorrow"), new_task()
    await store.submit(unknown)
    await store.submit(known)
    await ended(known)
    assert (await store.get(unknown.task_id)).status == "pending"


async def test_a_scheduled_task_runs_when_it_is_due_and_not_before(store, start_worker, ended):
    start_worker()
    seconds, micros = await store.redis.time()
    due = seconds * 1000 + micros // 1000 + 700
    task = new_task(run_at_ms=due)
    await store.submit(task)
    assert (await store.overview()).scheduled == 1
    record = await ended(task)
    assert record.started_at is not None
    assert record.started_at.timestamp() * 1000 >= due


async def test_taking_and_finishing_are_three_commands(store, start_worker, ended):
    """An idle worker: the bell, the claim, the settlement. It also looks by itself once a second, renews and sweeps:
    those are told apart by what they run."""
    start_worker()
    first = new_task()
    await store.submit(first)
    await ended(first)
    counted = {"blpop": 0, "claim": 0, "settle": 0}
    tasks = [new_task() for _ in range(20)]
    async with store.redis.monitor() as monitor:
        for task in tasks:
            await store.submit(task)
            await store.redis.echo("submitted")
            await ended(task)
        await store.redis.echo("end")
        claims, settles = _hash(store, "claim"), _hash(store, "settle")
        while (command := (await monitor.next_command()))["command"] != "ECHO end":
            if command["client_type"] == "lua":
                continue
            words = command["command"].split(" ")
            counted["blpop"] += words[0] == "BLPOP"
            counted["claim"] += claims in words
            counted["settle"] += settles in words
    assert counted["settle"] == len(tasks)
    assert counted["blpop"] <= len(tasks) + 3
    # a claim a second that found nothing is the price of never losing a wake-up
    assert counted["claim"] <= len(tasks) + 10


def _hash(store, verb):
    return store._scripts._scripts[verb].sha
