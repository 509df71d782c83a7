"""A task that meets another one in its session: it waits, is refused, or interrupts it. Nobody else notices."""

import pytest

from core_config import Settings
from taskstore.claims import SettleKind, Turn
from taskstore.errors import QueueFull, SessionBusy
from taskstore.records import NewTask, OnBusy
from taskstore.states import Status
from taskstore.store import TaskStore

from .state import Contents
from .talk import MODELS, Runner, new


async def statuses(store: TaskStore, *task_ids: str) -> list[str]:
    return [(await store.get(task_id)).status.value for task_id in task_ids]


@pytest.mark.parametrize("on_busy", ["enqueue", "reject", "interrupt"])
async def test_a_free_session_takes_whoever_comes(on_busy: OnBusy, runner: Runner) -> None:
    for task_id in ("t1", "t2"):
        await runner.store.submit(new(task_id, on_busy=on_busy))
        await runner.settle(await runner.take_one(task_id), "success", result="x")


@pytest.mark.parametrize("on_busy", ["reject", "interrupt"])
async def test_tasks_of_no_session_never_meet(on_busy: OnBusy, runner: Runner) -> None:
    for task_id in ("t1", "t2"):
        await runner.store.submit(new(task_id, session="default", on_busy=on_busy))
    assert len(await runner.take()) == 2


async def test_a_busy_session_refuses_and_nothing_is_written(runner: Runner, contents: Contents) -> None:
    await runner.store.submit(new("t1"))
    before = await contents.snapshot()
    refused = new("t2", on_busy="reject", idempotency_key="k")
    for _ in range(2):
        with pytest.raises(SessionBusy) as refusal:
            await runner.store.submit(refused)
        assert refusal.value.task_id == "t1"
    await contents.check(before)
    # whatever keeps its session busy
    await runner.settle(await runner.take_one("t1"), "retry", delay_ms=60_000)
    with pytest.raises(SessionBusy):
        await runner.store.submit(refused)
    await runner.store.cancel("t1")
    assert (await runner.store.submit(refused)).created
    assert not (await runner.store.submit(refused)).created, "its own session is no reason to refuse a repeat"


async def test_an_interrupted_run_is_asked_to_stop_and_the_new_task_goes_first(runner: Runner) -> None:
    store = runner.store
    for task_id in ("t1", "t2", "t3"):
        await store.submit(new(task_id))
    first = await runner.take_one("t1")
    async with store.redis.pubsub() as channel:
        await channel.subscribe(store.keys.cancel())
        assert (await channel.get_message(timeout=30) or {})["type"] == "subscribe"
        await store.submit(new("t4", on_busy="interrupt"))
        assert (await channel.get_message(timeout=30) or {})["data"] == "t1"
    asked = await store.get("t1")
    assert (asked.status, asked.interrupted_by) == (Status.RUNNING, "t4")
    assert asked.cancel_requested_at is not None
    assert await runner.take() == [], "until it has stopped nothing else of the session runs"
    await runner.settle(first, "cancelled", partial="half an ans")
    ended = await store.get("t1")
    assert (ended.status, ended.error_code, ended.cause) == (Status.CANCELLED, "cancelled", "interrupted")
    assert ended.error == "The task was interrupted by task t4 of its session."
    assert ended.partial == "half an ans"
    for task_id in ("t4", "t2", "t3"):
        claim = await runner.take_one(task_id)
        assert "ask t1" not in [turn.message for turn in claim.history], "what was interrupted is not remembered"
        await runner.settle(claim, "success", result="x")


@pytest.mark.parametrize("kind", [None, "retry", "release", "suspend"])
async def test_what_no_worker_holds_is_interrupted_at_once(kind: SettleKind | None, runner: Runner) -> None:
    for task_id in ("t1", "t2"):
        await runner.store.submit(new(task_id))
    if kind is not None:
        await runner.settle(await runner.take_one("t1"), kind, delay_ms=60_000)
    await runner.store.submit(new("t3", on_busy="interrupt"))
    ended = await runner.store.get("t1")
    assert (ended.status, ended.cause, ended.interrupted_by) == (Status.CANCELLED, "interrupted", "t3")
    await runner.settle(await runner.take_one("t3"), "success", result="x")
    await runner.take_one("t2")


async def test_an_interrupt_sent_again_interrupts_nobody(runner: Runner) -> None:
    await runner.store.submit(new("t1"))
    again = new("t2", on_busy="interrupt", idempotency_key="k", body_sha256="b")
    await runner.store.submit(again)
    await runner.take_one("t2")
    same_key = new("t9", on_busy="interrupt", idempotency_key="k", body_sha256="b")
    for repeat in (again, same_key):
        assert (await runner.store.submit(repeat)).task_id == "t2"
    assert (await runner.store.get("t2")).cancel_requested_at is None
    assert await statuses(runner.store, "t1", "t2") == ["cancelled", "running"]


async def test_the_last_to_interrupt_goes_first_and_the_others_stay_behind(runner: Runner) -> None:
    for task_id in ("t1", "t2"):
        await runner.store.submit(new(task_id))
    first = await runner.take_one("t1")
    for task_id in ("t3", "t4"):
        await runner.store.submit(new(task_id, on_busy="interrupt"))
    assert (await runner.store.get("t1")).interrupted_by == "t3"
    await runner.settle(first, "cancelled")
    for task_id in ("t4", "t3", "t2"):
        await runner.settle(await runner.take_one(task_id), "success", result="x")


async def test_an_answer_that_was_finished_before_it_heard_counts(runner: Runner) -> None:
    await runner.store.submit(new("t1"))
    first = await runner.take_one("t1")
    await runner.store.submit(new("t2", on_busy="interrupt"))
    await runner.settle(first, "success", result="done")
    assert (await runner.store.get("t1")).status is Status.SUCCESS
    assert (await runner.take_one("t2")).history == [Turn("ask t1", "done")]


async def test_who_cancelled_first_is_who_cancelled(runner: Runner) -> None:
    await runner.store.submit(new("t1"))
    first = await runner.take_one("t1")
    await runner.store.cancel("t1")
    await runner.store.submit(new("t2", on_busy="interrupt"))
    await runner.settle(first, "cancelled")
    ended = await runner.store.get("t1")
    assert (ended.cause, ended.interrupted_by) == ("cancelled", None)
    await runner.take_one("t2")


async def test_an_interrupted_task_of_a_dead_worker_is_cancelled_not_rescued(runner: Runner) -> None:
    await runner.store.submit(new("t1"))
    await runner.take_one("t1")
    await runner.store.submit(new("t2", on_busy="interrupt"))
    await runner.store.sweep(dead="w1")
    assert (await runner.store.get("t1")).cause == "interrupted"
    await runner.take_one("t2")


async def test_nobody_interrupts_in_anothers_session(runner: Runner) -> None:
    await runner.store.submit(new("t1", user_id="u"))
    await runner.store.submit(new("t2", user_id="v", on_busy="interrupt"))
    stranger = NewTask(task_id="t3", caller="bob", message="x", model="M", session_id="chat", user_id="u",
                       on_busy="interrupt")  # fmt: skip
    await runner.store.submit(stranger)
    assert len(await runner.take()) == 3


async def test_a_full_queue_interrupts_nobody(contents: Contents, settings: Settings) -> None:
    store = TaskStore(contents.client, settings.model_copy(update={"queue_max_depth": 1}))
    await store.submit(new("t1"))
    before = await contents.snapshot()
    with pytest.raises(QueueFull):
        await store.submit(new("t2", on_busy="interrupt"))
    await contents.check(before)


async def test_a_task_for_later_waits_for_its_sessions_turn_whatever_it_says(
    runner: Runner, contents: Contents
) -> None:
    await runner.store.submit(new("t1"))
    later = await contents.clock() + 60_000
    await runner.store.submit(new("t2", on_busy="interrupt", run_at_ms=later))
    await runner.store.submit(new("t3", on_busy="reject", run_at_ms=later))
    assert await statuses(runner.store, "t1", "t2", "t3") == ["pending"] * 3


async def test_a_thousand_tasks_of_one_session_hold_up_nobody(store: TaskStore) -> None:
    """They stand where no claim looks: the next caller's task is taken at once, by a worker with room for one."""
    for number in range(1000):
        await store.submit(new(f"t{number}"))
    held = await store.claim("w1", 1, room=1, extra=0, models=MODELS)
    assert [task.task_id for task in held.tasks] == ["t0"]
    overview = await store.overview()
    assert (overview.queued, overview.running, overview.blocked) == (0, 1, 999)
    await store.submit(NewTask(task_id="bobs", caller="bob", message="x", model="M"))
    await store.submit(new("hers", session="another"))
    for number, task_id in enumerate(("bobs", "hers"), 2):
        taken = await store.claim("w1", number, room=1, extra=0, models=MODELS)
        assert [task.task_id for task in taken.tasks] == [task_id]
