"""What a session remembers, for how long, who can see it, and that deleted is deleted."""

import json
import uuid

import pytest

from core_config import Settings
from taskstore.claims import SettleKind, Turn
from taskstore.errors import SessionNotFound, StorageFull
from taskstore.records import NewTask, session_key
from taskstore.sessions import Conversation
from taskstore.store import TaskStore

from .state import Contents
from .talk import Runner, new
from .worlds import SESSION_TTL

SID = session_key(None, "chat")
NEAR_MS = 20_000
"""Between a verb and the look at what it left: the machine may be busy."""


async def say(runner: Runner, task_id: str, answer: str = "x", *, session: str = "chat", **fields: object) -> None:
    await runner.store.submit(new(task_id, session=session, **fields))
    await runner.settle(await runner.take_one(task_id), "success", result=answer)


async def chat(runner: Runner) -> Conversation:
    return await runner.store.sessions.read("alice", "chat")


async def remembered(runner: Runner) -> list[str]:
    return [turn.task_id for turn in (await chat(runner)).turns]


async def test_it_remembers_the_last_turns_and_says_that_there_were_more(
    contents: Contents, settings: Settings
) -> None:
    runner = Runner(TaskStore(contents.client, settings.model_copy(update={"session_max_turns": 3})))
    for number in range(5):
        await say(runner, f"t{number}")
    found = await chat(runner)
    assert [turn.task_id for turn in found.turns] == ["t2", "t3", "t4"]
    assert (found.session.turns, found.truncated) == (5, True)
    assert await contents.client.llen(f"{contents.prefix}session:alice:{SID}:log") == 3, "nor is there more behind it"
    await runner.store.submit(new("t5"))
    assert [turn.message for turn in (await runner.take_one("t5")).history] == ["ask t2", "ask t3", "ask t4"]


async def test_a_turn_is_what_was_asked_and_the_answer(runner: Runner, contents: Contents) -> None:
    now = await contents.clock()
    await say(runner, "t1", "to that")
    (turn,) = (await chat(runner)).turns
    assert (turn.task_id, turn.message, turn.answer) == ("t1", "ask t1", "to that")
    assert abs(turn.at.timestamp() * 1000 - now) < NEAR_MS


async def test_of_typed_work_it_remembers_the_json(runner: Runner) -> None:
    task = NewTask(task_id="t1", caller="alice", message="", input={"city": "Köln"}, model="M", session_id="chat")
    await runner.store.submit(task)
    await runner.settle(await runner.take_one("t1"), "success", result_json='{"sights":1}')
    (turn,) = (await chat(runner)).turns
    assert (turn.message, turn.answer) == ('{"city": "Köln"}', '{"sights":1}')


async def test_huge_texts_are_cut_and_a_huge_conversation_forgets_its_beginning(runner: Runner) -> None:
    for number in range(6):
        await say(runner, f"t{number}", "ü" * 100_000)
    turns = (await chat(runner)).turns
    assert {turn.answer for turn in turns} == {"ü" * 32_767 + "…"}
    assert [turn.task_id for turn in turns] == ["t3", "t4", "t5"]
    await say(runner, "t6", "short")
    size = sum(len(turn.answer.encode()) for turn in (await chat(runner)).turns)
    assert size < 262_144


@pytest.mark.parametrize("kind", ["fail", "bury", "cancelled"])
async def test_what_did_not_succeed_is_not_remembered(kind: SettleKind, runner: Runner) -> None:
    await runner.store.submit(new("t1"))
    await runner.settle(await runner.take_one("t1"), kind, partial="half", error_code="internal")
    found = await chat(runner)
    assert (found.turns, found.session.turns, found.truncated) == ([], 0, False)


# -- time


async def test_each_task_starts_its_time_anew_and_a_live_one_stops_it(runner: Runner, contents: Contents) -> None:
    name = f"{contents.prefix}session:alice:{SID}"
    for kind in ("success", "fail", "cancelled"):
        await runner.store.submit(new(kind))
        assert await contents.client.pttl(name) == -1
        assert (await chat(runner)).session.expires_at is None
        await runner.settle(await runner.take_one(kind), kind, error_code="internal")
        assert await contents.client.pttl(name) == pytest.approx(SESSION_TTL, abs=NEAR_MS)
        found = (await chat(runner)).session
        assert found.expires_at is not None
        assert (found.expires_at - found.updated_at).total_seconds() * 1000 == SESSION_TTL


async def test_a_session_waits_for_its_task_of_next_month(runner: Runner, contents: Contents) -> None:
    await say(runner, "t1")
    await runner.store.submit(new("t2", run_at_ms=await contents.clock() + 5 * SESSION_TTL))
    for key in (f"session:alice:{SID}", f"session:alice:{SID}:log"):
        assert await contents.client.pttl(contents.prefix + key) == -1
    assert (await chat(runner)).session.expires_at is None
    await runner.store.cancel("t2")
    assert await contents.client.pttl(f"{contents.prefix}session:alice:{SID}") == pytest.approx(
        SESSION_TTL, abs=NEAR_MS
    )


async def test_the_sweep_forgets_those_whose_time_is_over_without_a_trace(runner: Runner, contents: Contents) -> None:
    await say(runner, "t1")
    await say(runner, "t2", session="other")
    idle = f"{contents.prefix}idle"
    await contents.client.zadd(idle, {f"{SID} alice": await contents.clock() - 1})
    await runner.store.sweep()
    with pytest.raises(SessionNotFound):
        await chat(runner)
    assert [one.session_id for one in (await runner.store.sessions.list("alice", limit=9)).sessions] == ["other"]
    assert not [key for key in await contents.snapshot() if SID in key]
    assert await contents.client.zscore(idle, f"{SID} alice") is None


async def test_one_that_redis_forgot_before_the_sweep_is_not_listed(runner: Runner, contents: Contents) -> None:
    await say(runner, "t1")
    for key in (f"session:alice:{SID}", f"session:alice:{SID}:log"):
        await contents.client.delete(contents.prefix + key)
    await contents.client.zadd(f"{contents.prefix}idle", {f"{SID} alice": await contents.clock() - 1})
    assert (await runner.store.sessions.list("alice", limit=9)).sessions == []
    await runner.store.sweep()
    assert not [key for key in await contents.snapshot() if key.split(":")[0] in {"idle", "session", "sessions"}]


# -- deleting


async def test_deleted_is_deleted(runner: Runner, contents: Contents) -> None:
    await say(runner, "t1")
    assert await runner.store.sessions.forget("alice", "chat") == 1
    assert await runner.store.sessions.forget("alice", "chat") is None, "sent again it finds nothing"
    assert not [key for key in await contents.snapshot() if key.split(":")[0] in {"idle", "session", "sessions"}]
    await runner.store.submit(new("t2"))
    assert (await runner.take_one("t2")).history == []
    assert (await chat(runner)).session.turns == 0


async def test_a_turn_that_ran_while_it_was_deleted_does_not_bring_it_back(runner: Runner, contents: Contents) -> None:
    await say(runner, "t1")
    for task_id in ("t2", "t3"):
        await runner.store.submit(new(task_id))
    running = await runner.take_one("t2")
    assert await runner.store.sessions.forget("alice", "chat") == 1
    with pytest.raises(SessionNotFound):
        await chat(runner)
    assert (await runner.store.sessions.list("alice", limit=9)).sessions == []
    await runner.settle(running, "success", result="secret")
    waited = await runner.take_one("t3")
    assert waited.history == [], "those that waited keep their order, and know nothing"
    await runner.settle(waited, "success", result="secret")
    assert not [key for key in await contents.snapshot() if key.split(":")[0] in {"idle", "session", "sessions"}]


async def test_what_is_said_after_it_was_deleted_is_a_new_memory(runner: Runner) -> None:
    await runner.store.submit(new("t1"))
    running = await runner.take_one("t1")
    await runner.store.sessions.forget("alice", "chat")
    await runner.store.submit(new("t2"))
    assert await runner.take() == [], "the order holds"
    await runner.settle(running, "success", result="secret")
    second = await runner.take_one("t2")
    assert second.history == []
    await runner.settle(second, "success", result="x")
    assert await remembered(runner) == ["t2"]


async def test_a_replay_does_not_bring_a_deleted_turn_back(runner: Runner, contents: Contents) -> None:
    await runner.store.submit(new("t1"))
    await runner.settle(await runner.take_one("t1"), "bury", error_code="internal")
    await runner.store.sessions.forget("alice", "chat")
    await runner.store.replay("t1")
    await runner.settle(await runner.take_one("t1"), "success", result="secret")
    assert not [key for key in await contents.snapshot() if key.split(":")[0] in {"idle", "session", "sessions"}]


async def test_a_replay_in_a_session_that_lives_is_remembered(runner: Runner) -> None:
    await runner.store.submit(new("t1"))
    await runner.settle(await runner.take_one("t1"), "fail", error_code="internal")
    await say(runner, "t2")
    await runner.store.replay("t1")
    await runner.settle(await runner.take_one("t1"), "success", result="x")
    assert await remembered(runner) == ["t2", "t1"]


async def test_a_full_redis_still_deletes(private_store: TaskStore) -> None:
    runner = Runner(private_store)
    await say(runner, "t1")
    await private_store.redis.config_set("maxmemory", 1)
    with pytest.raises(StorageFull):
        await private_store.submit(new("t2"))
    assert await private_store.sessions.forget("alice", "chat") == 1


# -- looking


async def test_a_session_says_who_has_it_and_how_many_wait(runner: Runner) -> None:
    for task_id in ("t1", "t2", "t3"):
        await runner.store.submit(new(task_id, user_id="u"))
    found = (await runner.store.sessions.read("alice", "chat", "u")).session
    assert (found.session_id, found.user_id, found.busy_task_id, found.waiting) == ("chat", "u", "t1", 2)


@pytest.mark.parametrize(("caller", "session_id", "user_id"), [
    ("bob", "chat", "u"), ("alice", "chat", None), ("alice", "chat", ""), ("alice", "cha", "u"),
    ("alice", "default", "u"), ("alice", "", "u"),
])  # fmt: skip
async def test_only_the_same_three_names_are_the_same_session(
    caller: str, session_id: str, user_id: str | None, runner: Runner
) -> None:
    await say(runner, "t1", user_id="u")
    sessions = runner.store.sessions
    with pytest.raises(SessionNotFound):
        await sessions.read(caller, session_id, user_id)
    assert await sessions.forget(caller, session_id, user_id) is None
    assert len((await sessions.read("alice", "chat", "u")).turns) == 1


async def test_pages_go_through_all_sessions_once_the_last_touched_first(runner: Runner, contents: Contents) -> None:
    names = [f"s{number}" for number in range(7)]
    for name in names:
        await runner.store.submit(new(uuid.uuid4().hex, session=name, user_id="u" if name in {"s1", "s4"} else None))
    index = f"{contents.prefix}sessions:alice"
    by_key = {session_key("u" if name in {"s1", "s4"} else None, name): name for name in names}
    now = await contents.clock()
    for key, name in by_key.items():  # three at one moment
        await contents.client.zadd(index, {key: now + max(2, names.index(name))})
    sessions = runner.store.sessions
    seen: list[str] = []
    after = None
    for _ in range(4):
        page = await sessions.list("alice", limit=2, after=after)
        seen += [one.session_id for one in page.sessions]
        after = page.next
        if after is None:
            break
    assert after is None
    tied = sorted((key for key, name in by_key.items() if name in {"s0", "s1", "s2"}), reverse=True)
    assert seen == ["s6", "s5", "s4", "s3", *(by_key[key] for key in tied)]
    of_u = await sessions.list("alice", limit=9, user_id="u")
    assert [one.session_id for one in of_u.sessions] == ["s4", "s1"]
    assert (await sessions.list("alice", limit=9, user_id="")).sessions == []
    assert (await sessions.list("bob", limit=9)).sessions == []


async def test_an_agents_history_is_what_the_session_shows(runner: Runner) -> None:
    await say(runner, "t1", json.dumps({"a": "ä"}))
    await runner.store.submit(new("t2"))
    assert (await runner.take_one("t2")).history == [Turn("ask t1", '{"a": "\\u00e4"}')]
