"""Sessions: one task at a time, in order, with the turns of the earlier ones; nobody else waits for them."""

import pytest

from taskstore.claims import SettleKind, Settlement, Turn
from taskstore.records import NewTask, session_key

from .state import Contents, ZSet, changed
from .talk import Runner, new
from .worlds import SESSION_TTL, blocked


async def test_a_sessions_tasks_run_in_order_one_at_a_time_and_block_nobody(runner: Runner) -> None:
    for task_id in ("t1", "t2", "t3"):
        await runner.store.submit(new(task_id))
    await runner.store.submit(new("other", session="another"))
    await runner.store.submit(new("free", session=None))

    first = await runner.take()
    assert {task.task_id for task in first} == {"t1", "other", "free"}
    running = next(task for task in first if task.task_id == "t1")
    for follower in ("t2", "t3"):
        assert await runner.take() == []
        await runner.settle(running, "success", result=f"answer to {running.task_id}")
        running = await runner.take_one(follower)
    assert running.history == [Turn("ask t1", "answer to t1"), Turn("ask t2", "answer to t2")]


@pytest.mark.parametrize("session", [None, "", "default", " default "])
async def test_without_a_session_of_its_own_a_task_waits_for_nobody(
    session: str | None, runner: Runner, contents: Contents
) -> None:
    for task_id in ("t1", "t2"):
        await runner.store.submit(new(task_id, session=session))
    assert len(await runner.take()) == 2
    assert not [key for key in await contents.snapshot() if key.startswith("session:")]


async def test_a_session_belongs_to_its_caller_and_its_user(runner: Runner) -> None:
    await runner.store.submit(new("t1", user_id="u"))
    await runner.store.submit(new("t2", user_id="v"))
    await runner.store.submit(new("t3"))
    await runner.store.submit(
        NewTask(task_id="t4", caller="bob", message="x", model="M", session_id="chat", user_id="u")
    )
    assert len(await runner.take()) == 4
    # pairs that look alike when joined
    assert session_key("a", "b:c") != session_key("a:b", "c")
    assert session_key(None, "s") != session_key("", "s")


@pytest.mark.parametrize("kind", ["fail", "bury"])
async def test_only_a_success_leaves_a_turn_and_any_end_lets_the_next_in(kind: SettleKind, runner: Runner) -> None:
    for task_id in ("t1", "t2"):
        await runner.store.submit(new(task_id))
    await runner.settle(await runner.take_one("t1"), kind, error="no", error_code="internal")
    assert (await runner.take_one("t2")).history == []


@pytest.mark.parametrize(("kind", "status"), [("retry", "retrying"), ("release", "pending"), ("suspend", "waiting")])
async def test_a_task_that_comes_back_keeps_its_session(kind: SettleKind, status: str, runner: Runner) -> None:
    for task_id in ("t1", "t2"):
        await runner.store.submit(new(task_id))
    await runner.settle(await runner.take_one("t1"), kind, delay_ms=60_000 if kind == "retry" else 0)
    assert (await runner.store.get("t1")).status.value == status
    assert [task.task_id for task in await runner.take()] == (["t1"] if kind == "release" else [])
    if kind == "suspend":
        await runner.store.decide("t1", "{}")
        assert (await runner.take_one("t1")).attempt == 2


async def test_a_turn_is_appended_once_however_often_the_settle_is_sent(runner: Runner, contents: Contents) -> None:
    await runner.store.submit(new("t1"))
    task = await runner.take_one("t1")
    for _ in range(3):
        await runner.settle(task, "success", result="x")
    log = f"session:alice:{session_key(None, 'chat')}:log"
    assert len((await contents.snapshot())[log]) == 1


async def test_cancelling_one_that_waits_leaves_the_others_in_order(runner: Runner) -> None:
    for task_id in ("t1", "t2", "t3"):
        await runner.store.submit(new(task_id))
    task = await runner.take_one("t1")
    await runner.store.cancel("t2")
    await runner.settle(task, "success", result="x")
    await runner.take_one("t3")


async def test_cancelling_the_holder_before_it_runs_lets_the_next_in(runner: Runner) -> None:
    for task_id in ("t1", "t2"):
        await runner.store.submit(new(task_id))
    await runner.store.cancel("t1")
    await runner.take_one("t2")


async def test_a_blocked_task_past_its_deadline_fails_and_the_next_is_let_in(
    runner: Runner, contents: Contents
) -> None:
    now = await contents.clock()
    before = changed(blocked(now), {"task:t1": {"deadline_at": now - 100}, "live": ZSet(t1=now - 100)})
    await contents.seed(before)
    # not yet swept: the holder ends, the blocked one is let in, and the claim sees that its time is over
    assert await runner.store.settle([Settlement(task_id="t0", fence=1, kind="success", result="x")]) == ["ok"]
    assert await runner.take() == []
    assert (await runner.store.get("t1")).error_code == "deadline_exceeded"
    assert "holder" not in (await contents.snapshot())["session:alice:s"]


async def test_a_session_whose_holder_is_gone_is_taken_over(runner: Runner, contents: Contents) -> None:
    name = f"{contents.prefix}session:alice:{session_key(None, 'chat')}"
    await contents.client.hset(name, mapping={"holder": "t9", "seq": 4, "live": 1})
    await runner.store.submit(new("t1"))
    await runner.take_one("t1")


async def test_a_session_lives_on_after_its_last_task_and_no_longer(runner: Runner, contents: Contents) -> None:
    name = f"{contents.prefix}session:alice:{session_key(None, 'chat')}"
    for task_id in ("t1", "t2"):
        await runner.store.submit(new(task_id))
    await runner.settle(await runner.take_one("t1"), "success", result="x")
    assert [await contents.client.pttl(key) for key in (name, name + ":log")] == [-1, -1]
    await runner.settle(await runner.take_one("t2"), "success", result="x")
    for key in (name, name + ":log"):
        assert await contents.client.pttl(key) == pytest.approx(SESSION_TTL, abs=1500)
    assert "holder" not in await contents.client.hgetall(name)
    await runner.store.submit(new("t3"))
    assert [await contents.client.pttl(key) for key in (name, name + ":log")] == [-1, -1]


async def test_a_session_whose_only_task_never_ran_does_not_live_for_ever(runner: Runner, contents: Contents) -> None:
    await runner.store.submit(new("t1", run_at_ms=await contents.clock() + 60_000))
    await runner.store.cancel("t1")
    name = f"{contents.prefix}session:alice:{session_key(None, 'chat')}"
    assert await contents.client.pttl(name) == pytest.approx(SESSION_TTL, abs=1500)


async def test_a_replayed_task_waits_for_its_sessions_turn(runner: Runner) -> None:
    await runner.store.submit(new("t1"))
    await runner.settle(await runner.take_one("t1"), "fail", error_code="internal")
    for task_id in ("t2", "t3"):
        await runner.store.submit(new(task_id))
    running = await runner.take_one("t2")
    await runner.store.replay("t1")
    assert await runner.take() == []
    await runner.settle(running, "success", result="x")
    # it came first, and so it goes before those that came after it
    await runner.take_one("t1")


async def test_a_rescued_task_keeps_its_session_and_its_place(runner: Runner) -> None:
    for task_id in ("t1", "t2"):
        await runner.store.submit(new(task_id))
    await runner.take_one("t1")
    await runner.store.sweep(dead="w1")
    again = await runner.take_one("t1")
    assert (again.fence, again.crashes) == (2, 1)
