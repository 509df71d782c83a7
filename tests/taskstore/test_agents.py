"""Which agents there are workers for: the last worker to start speaks for all."""

import pytest

from taskstore.agents import NOBODY_HAS_IT
from taskstore.claims import SettleKind, Settlement
from taskstore.errors import AgentUnavailable
from taskstore.records import NewTask, WorkerInfo
from taskstore.states import Status
from taskstore.store import TaskStore

from .state import About, Contents

HOUR_MS = 3_600_000
BROKEN = "agents.toml, line 3: there is no tool 'serch'; did you mean 'search'?"


def of(agent: str, task_id: str = "t1", **fields: str) -> NewTask:
    return NewTask(task_id=task_id, caller="alice", message="x", model="M", agent=agent, **fields)  # type: ignore[arg-type]  # each test names real ones


async def said(store: TaskStore) -> dict[str, tuple[str | None, str]]:
    return {name: (report.problem, report.worker) for name, report in (await store.overview()).agents.items()}


async def alive(store: TaskStore, *workers: str) -> None:
    for worker in workers:
        await store.renew(WorkerInfo(worker, "host", 1, "1", 5, 0), [])


async def test_the_last_word_counts_and_whom_it_does_not_name_is_gone(audited: TaskStore) -> None:
    assert await said(audited) == {}
    await audited.report("w1", {"default": None, "writer": None, "old": None})
    await audited.report("w2", {"default": None, "writer": BROKEN})
    for _ in range(2):  # a report may be sent twice
        assert await said(audited) == {"default": (None, "w2"), "writer": (BROKEN, "w2")}
        await audited.report("w2", {"default": None, "writer": BROKEN})
    assert 0 <= (await audited.overview()).agents["default"].said_ms < 60_000
    await audited.report("w3", {})
    assert await said(audited) == {}


async def test_a_word_lives_for_an_hour_after_the_last_worker(audited: TaskStore, contents: Contents) -> None:
    await audited.report("w1", {"default": None})
    name = contents.prefix + "agents"
    assert await contents.client.pttl(name) == About(HOUR_MS)
    await contents.client.pexpire(name, 5_000)
    await alive(audited, "w1")
    assert await contents.client.pttl(name) == About(HOUR_MS)


async def test_a_task_of_an_agent_that_cannot_run_is_refused_and_nothing_is_written(
    audited: TaskStore, contents: Contents
) -> None:
    await audited.report("w1", {"default": None, "writer": BROKEN})
    before = await contents.snapshot()
    with pytest.raises(AgentUnavailable) as refusal:
        await audited.submit(of("writer", session_id="chat", idempotency_key="k"))
    assert (refusal.value.agent, refusal.value.problem) == ("writer", BROKEN)
    with pytest.raises(AgentUnavailable) as refusal:
        await audited.submit(of("newer"))
    assert refusal.value.problem == NOBODY_HAS_IT
    await contents.check(before)
    assert (await audited.submit(of("default"))).created


async def test_before_any_worker_has_spoken_every_agent_may_be_waited_for(audited: TaskStore) -> None:
    assert (await audited.submit(of("writer"))).created


async def test_a_submit_that_is_asked_again_answers_as_the_first_time(audited: TaskStore) -> None:
    first = await audited.submit(of("writer", idempotency_key="k"))
    await audited.report("w1", {"writer": BROKEN})
    assert (await audited.submit(of("writer", idempotency_key="k"))).task_id == first.task_id
    again = await audited.submit(of("writer", "t2", idempotency_key="k"))
    assert (again.task_id, again.created) == ("t1", False)


async def outcome(store: TaskStore, worker: str, code: str, kind: SettleKind) -> tuple[Status, int, str | None]:
    """What becomes of a task that `worker` takes and cannot run."""
    (claim,) = (await store.claim(worker, 1, room=1, extra=0, models={"M": None})).tasks
    failure = Settlement(task_id="t1", fence=claim.fence, kind=kind, error_code=code, error="no", delay_ms=9_000)
    assert await store.settle([failure]) == ["ok"]
    assert await store.settle([failure]) == ["ok"]
    task = await store.get("t1")
    return task.status, task.attempt, task.cause


@pytest.mark.parametrize(("code", "kind"), [("agent_unavailable", "retry"), ("agent_unknown", "fail")])
async def test_what_only_the_successor_can_run_is_handed_on_unspent(
    audited: TaskStore, code: str, kind: SettleKind
) -> None:
    await audited.submit(of("writer"))
    await alive(audited, "old", "new")
    await audited.report("new", {"writer": None})
    assert await outcome(audited, "old", code, kind) == (Status.PENDING, 0, "handed_on")
    task = await audited.get("t1")
    assert (task.index, task.retries, task.error_code) == ("scheduled", 0, None)
    # not at once: the one that cannot run it would take it again
    assert (await audited.claim("old", 2, room=1, extra=0, models={"M": None})).tasks == []


@pytest.mark.parametrize(
    ("last_word", "code"),
    [
        (("old", {"writer": None}), "agent_unavailable"),
        (("new", {"writer": BROKEN}), "agent_unavailable"),
        (("new", {}), "agent_unknown"),
        (("dead", {"writer": None}), "agent_unavailable"),
        (("new", {"writer": None}), "internal"),
    ],
    ids=["its-own-word", "nobody-can", "nobody-has-it", "who-said-it-is-dead", "another-failure"],
)
async def test_what_nobody_else_can_run_fails(
    audited: TaskStore, last_word: tuple[str, dict[str, str | None]], code: str
) -> None:
    await audited.submit(of("writer"))
    await alive(audited, "old", "new")
    await audited.report(*last_word)
    assert await outcome(audited, "old", code, "fail") == (Status.FAILED, 1, code)


async def test_a_cancel_that_was_asked_for_goes_before_handing_on(audited: TaskStore) -> None:
    await audited.submit(of("writer"))
    await alive(audited, "old", "new")
    await audited.report("new", {"writer": None})
    (claim,) = (await audited.claim("old", 1, room=1, extra=0, models={"M": None})).tasks
    await audited.cancel("t1")
    await audited.settle([Settlement(task_id="t1", fence=claim.fence, kind="fail", error_code="agent_unavailable")])
    assert (await audited.get("t1")).status is Status.CANCELLED
