"""Submit: all or nothing, once for an idempotency key, and announced."""

import asyncio
from math import inf

import pytest

from core_config import Settings
from taskstore.claims import Settlement
from taskstore.errors import IdempotencyConflict, NeverDue, QueueFull
from taskstore.records import Kind, NewTask, session_key
from taskstore.states import Status
from taskstore.store import TaskStore

from .edges import counted
from .state import About, Contents, Stream, ZSet
from .worlds import CAME_AGO, event, record

DAY_MS = 86_400_000


def new(task_id: str, **fields: object) -> NewTask:
    return NewTask(task_id=task_id, caller="alice", message="hello", model="M", **fields)  # type: ignore[arg-type]  # each test names real ones


async def test_a_submit_writes_exactly_this(audited: TaskStore, contents: Contents) -> None:
    now = await contents.clock()
    submitted = await audited.submit(
        new("t1", user_id="u", session_id="chat", kind=Kind.INTERACTIVE, priority=6, agent="helper", deadline_ms=DAY_MS,
            metadata={"a": [1, None]}, idempotency_key="key", body_sha256="abc")
    )  # fmt: skip
    assert (submitted.task_id, submitted.status, submitted.created) == ("t1", Status.PENDING, True)
    assert abs(submitted.created_at.timestamp() * 1000 - now) < 1500
    session = session_key("u", "chat")
    fields = record(
        now + CAME_AGO, user_id="u", session_id="chat", session=session, turn=1, memory="t1", kind="i", at="ready:M:i",
        priority=6, flow="alice|6", weight=2.0, agent="helper", metadata='{"a":[1,null]}', vscore="0.500000",
        deadline_at=About(now + DAY_MS), idem=contents.prefix + "idem:alice:key",
    ) | {"created_at": About(now), "queued_at": About(now), "ready_at": About(now)}  # fmt: skip
    await contents.check({
        "task:t1": fields,
        "events:t1": Stream([event(0, "pending", 0, 0) | {"at": About(now)}]),
        "ready:M:i": ZSet(t1=0.5),
        "live": ZSet(t1=About(now + DAY_MS)),
        "caller:alice": ZSet(t1=About(now)),
        "callers": {"alice"},
        "lanes": {"M:i"},
        "fair": {"alice|6": "0.500000"},
        "bell:i": ["1"],
        "idem:alice:key": "t1 abc",
        f"session:alice:{session}": {
            "seq": 1, "live": 1, "holder": "t1", "memory": "t1", "session_id": "chat", "user_id": "u", "turns": 0,
            "bytes": 0, "created_at": About(now), "updated_at": About(now),
        },
        "sessions:alice": ZSet({session: About(now)}),
        **counted("agent_tasks_submitted_total", "alice", "helper", "M", "interactive"),
    })  # fmt: skip


async def test_a_task_for_later_takes_no_place_today(audited: TaskStore, contents: Contents) -> None:
    now = await contents.clock()
    await audited.submit(new("t1", run_at_ms=now + DAY_MS))
    found = await contents.snapshot()
    assert found["scheduled"] == {"t1": now + DAY_MS}
    assert found["live"] == {"t1": inf}
    assert not {"fair", "lanes", "ready:M:b"} & found.keys()


@pytest.mark.parametrize("later_ms", [DAY_MS + 60_000, 2 * DAY_MS])
async def test_a_task_whose_time_comes_after_its_deadline_is_refused_by_redis_s_clock(
    later_ms: int, audited: TaskStore, contents: Contents
) -> None:
    now = await contents.clock()
    before = await contents.snapshot()
    with pytest.raises(NeverDue):
        await audited.submit(new("t1", run_at_ms=now + later_ms, deadline_ms=DAY_MS, idempotency_key="key"))
    await contents.check(before)
    assert (await audited.submit(new("t1", run_at_ms=now + DAY_MS - 60_000, deadline_ms=DAY_MS))).created


async def test_a_full_queue_writes_nothing(contents: Contents, settings: Settings) -> None:
    store = TaskStore(contents.client, settings.model_copy(update={"queue_max_depth": 2}))
    await store.submit(new("t1"))
    await store.submit(new("t2", run_at_ms=await contents.clock() + DAY_MS))
    before = await contents.snapshot()
    with pytest.raises(QueueFull) as refusal:
        await store.submit(new("t3", session_id="chat", idempotency_key="key"))
    assert refusal.value.depth == 2
    await contents.check(before)
    # a task that is there is no new one
    assert not (await store.submit(new("t1"))).created


async def test_what_runs_or_waits_for_a_person_takes_no_place_in_the_queue(
    contents: Contents, settings: Settings
) -> None:
    store = TaskStore(contents.client, settings.model_copy(update={"queue_max_depth": 1}))
    for number, task_id in enumerate(("t1", "t2")):
        await store.submit(new(task_id))
        assert (await store.claim("w1", number, room=1, extra=0, models={"M": None})).tasks
    await store.settle([Settlement(task_id="t1", fence=1, kind="suspend")])
    await store.submit(new("t3"))
    with pytest.raises(QueueFull):
        await store.submit(new("t4"))


async def test_the_same_key_and_body_give_the_same_task_and_another_body_is_refused(
    audited: TaskStore, contents: Contents
) -> None:
    first = await audited.submit(new("t1", idempotency_key="key", body_sha256="abc"))
    before = await contents.snapshot()

    again = await audited.submit(new("t2", idempotency_key="key", body_sha256="abc"))
    with pytest.raises(IdempotencyConflict):
        await audited.submit(new("t3", idempotency_key="key", body_sha256="other"))

    assert (again.task_id, again.created_at, again.created) == ("t1", first.created_at, False)
    await contents.check(before)
    # a key is its caller's own
    other = NewTask(task_id="t4", caller="bob", message="x", model="M", idempotency_key="key", body_sha256="other")
    assert (await audited.submit(other)).created


async def test_a_key_lives_as_long_as_its_record(audited: TaskStore, contents: Contents) -> None:
    await audited.submit(new("t1", idempotency_key="key"))
    name = contents.prefix + "idem:alice:key"
    assert await contents.client.pttl(name) == -1
    await audited.cancel("t1")
    left = await contents.client.pttl(name)
    assert 0 < left == pytest.approx(await contents.client.pttl(contents.prefix + "task:t1"), abs=50)
    # the task can still be asked for, by its id and by its key
    assert (await audited.submit(new("t2", idempotency_key="key"))).status == Status.CANCELLED


async def test_a_replayed_tasks_key_lives_on_with_it(audited: TaskStore, contents: Contents) -> None:
    await audited.submit(new("t1", idempotency_key="key"))
    await audited.claim("w1", 1, room=1, extra=0, models={"M": None})
    await audited.settle([Settlement(task_id="t1", fence=1, kind="fail", error_code="internal")])
    await audited.replay("t1")
    assert await contents.client.pttl(contents.prefix + "idem:alice:key") == -1


async def test_a_key_whose_record_is_gone_is_a_new_tasks(audited: TaskStore, contents: Contents) -> None:
    await contents.client.set(contents.prefix + "idem:alice:key", "t0 abc", px=5_000)
    assert (await audited.submit(new("t1", idempotency_key="key", body_sha256="other"))).created
    assert await contents.client.get(contents.prefix + "idem:alice:key") == "t1 other"
    assert await contents.client.pttl(contents.prefix + "idem:alice:key") == -1


async def test_a_hundred_at_once_with_one_key_are_one_task(store: TaskStore, contents: Contents) -> None:
    tasks = [new(f"t{number}", idempotency_key="key", body_sha256="abc") for number in range(100)]
    answers = await asyncio.gather(*(store.submit(task) for task in tasks))
    assert len({answer.task_id for answer in answers}) == 1
    assert [answer.created for answer in answers].count(True) == 1
    assert await contents.client.zcard(contents.prefix + "live") == 1
    assert await store.audit() == []


async def test_each_event_is_published_on_the_tasks_channel_with_its_id(audited: TaskStore, contents: Contents) -> None:
    async with contents.client.pubsub() as pubsub:
        channel = contents.prefix + "events:t1"
        await pubsub.subscribe(channel)
        await pubsub.get_message(timeout=5)
        await audited.submit(new("t1"))
        await audited.claim("w1", 1, room=1, extra=0, models={"M": None})
        await audited.cancel("t1")
        await audited.settle([Settlement(task_id="t1", fence=1, kind="cancelled")])
        announced = [(await pubsub.get_message(timeout=5))["data"] for _ in range(4)]
    entries = await contents.client.xrange(channel)
    assert announced == [entry_id for entry_id, _ in entries]
    assert [(fields["type"], fields["status"]) for _, fields in entries] == [
        ("status", "pending"), ("status", "running"), ("cancel_requested", "running"), ("status", "cancelled"),
    ]  # fmt: skip
