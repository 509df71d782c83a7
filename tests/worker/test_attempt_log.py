"""What a worker's log says of attempts and of how tasks end."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from core_config import Settings
from taskstore.claims import SettleKind, Settlement
from taskstore.records import TokenUsage
from taskstore.states import Status
from taskstore.store import TaskStore
from tests.worker.conftest import WorkerProcess, eventually, new_task
from worker import attempt_log


async def told(worker: WorkerProcess, task_id: str, *, ended: bool = True) -> list[dict[str, Any]]:
    """All lines about the task; its last one comes a moment after its outcome is in Redis."""

    async def lines() -> list[dict[str, Any]]:
        found = [json.loads(line) for line in worker.said().rpartition("\n")[0].splitlines()]
        mine = [one for one in found if one.get("task") == task_id]
        return mine if not ended or any(one["event"] == "task_ended" for one in mine) else []

    found: list[dict[str, Any]] = await eventually(lines)
    return found


@pytest.fixture
def talkative(start_worker: Callable[..., WorkerProcess]) -> Callable[..., WorkerProcess]:
    def start(**settings: Any) -> WorkerProcess:
        return start_worker(log_format="json", log_level="DEBUG", **settings)

    return start


async def test_a_task_has_a_line_for_its_start_and_one_for_its_end(store, talkative, ended):
    worker = talkative()
    task = new_task("spend", session_id="s 1", deadline_ms=60_000)
    plain = new_task("say hello")
    for one in (task, plain):
        await store.submit(one)
    await ended(plain)
    start, end = await told(worker, plain.task_id)
    bound = {"task": plain.task_id, "attempt": 1, "caller": "alice", "agent": "default", "model": "M"}
    assert [(one["level"], one["event"]) for one in (start, end)] == [
        ("DEBUG", "attempt_started"),
        ("INFO", "task_ended"),
    ]
    assert start.items() >= bound.items()
    assert end.items() >= {**bound, "status": "success"}.items()
    assert end["duration_ms"] >= 0
    assert not {"asked", "answer", "session", "error_code", "cost_usd"} & end.keys()
    assert "hello" not in worker.said(), "no contents without leave"

    await store.cancel(task.task_id)
    await ended(task)
    end = (await told(worker, task.task_id))[-1]
    assert end.items() >= {"status": "cancelled", "session": "s 1", "tokens": 15, "cost_usd": 0.01}.items()


async def test_the_last_attempt_of_a_task_says_that_it_ended(store, talkative, ended):
    worker = talkative(max_retries=1)
    task = new_task("raise provider_bad_response")
    await store.submit(task)
    await ended(task)
    told_of_it = await told(worker, task.task_id)
    assert [(one["level"], one["event"], one["attempt"], one.get("status")) for one in told_of_it] == [
        ("DEBUG", "attempt_started", 1, None),
        ("WARNING", "attempt_ended", 1, "retrying"),
        ("INFO", "attempt_started", 2, None),
        ("WARNING", "task_ended", 2, "failed"),
    ]


@pytest.mark.parametrize(
    ("kind", "retries", "about", "status"),
    [
        ("success", 3, {}, "success"),
        ("fail", 3, {}, "failed"),
        ("bury", 3, {}, "failed"),
        ("retry", 3, {}, "retrying"),
        ("retry", 0, {}, "failed"),
        ("retry", 3, {"deadline_ms": 60_000}, "failed"),
        ("release", 3, {}, "pending"),
        ("release", 3, {"cancelled": True}, "cancelled"),
    ],
)
async def test_the_store_tells_what_a_task_is_from_there_on(
    settings: Settings, store: TaskStore, kind: SettleKind, retries: int, about: dict[str, Any], status: str
):
    store = TaskStore(store.redis, settings.model_copy(update={"max_retries": retries}))
    cancelled = bool(about.get("cancelled"))
    task = new_task(deadline_ms=about.get("deadline_ms", 0))
    await store.submit(task)
    await store.claim("w", 1, room=1, extra=0, models={"M": None})
    if cancelled:
        await store.cancel(task.task_id)
    settlement = Settlement(task_id=task.task_id, fence=1, kind=kind, delay_ms=60_000, error_code="provider_timeout")
    for _ in range(2):  # a repeat is told the same
        (word,) = await store.settle([settlement])
        assert (word, word.status, word.cancelled_after_ms is not None) == ("ok", status, cancelled)
    (lost,) = await store.settle([Settlement(task_id=task.task_id, fence=2, kind=kind)])
    assert (lost, lost.status) == ("lease_lost", None)


@pytest.mark.parametrize(
    ("cost", "answered_by", "told"),
    [
        (0.5, "M", {"cost_usd": 0.5}),
        (0.0, None, {"cost_usd": 0.0}),
        (None, "Fallback", {"cost_usd": "unknown", "answered_by": "Fallback"}),
    ],
)
async def test_the_last_line_says_what_is_not_known_and_who_answered_in_the_model_s_place(
    store: TaskStore,
    caplog: pytest.LogCaptureFixture,
    cost: float | None,
    answered_by: str | None,
    told: dict[str, Any],
):
    task = new_task()
    await store.submit(task)
    (claim,) = (await store.claim("w", 1, room=1, extra=0, models={"M": None})).tasks
    settlement = Settlement(
        task_id=task.task_id, fence=claim.fence, kind="success", result="said", usage=TokenUsage(10, 5, 15),
        cost_usd=cost, answered_by=answered_by,
    )  # fmt: skip
    caplog.set_level("INFO")
    attempt_log.ends(claim, settlement, Status.SUCCESS, 0.25, content=False)
    (line,) = caplog.records
    wanted = {"status": "success", "duration_ms": 250, "tokens": 15, **told}
    assert {name: value for name, value in vars(line).items() if name in {*wanted, "answered_by", "answer"}} == wanted


async def test_what_an_attempt_raises_is_told_with_its_task(store, talkative, ended):
    worker = talkative()
    task = new_task("raise RuntimeError")
    await store.submit(task)
    await ended(task)
    (error,) = [one for one in await told(worker, task.task_id) if one["level"] == "ERROR"]
    assert (error["event"], error["attempt"], error["caller"]) == ("attempt_failed", 1, "alice")
    assert "RuntimeError: planted" in error["exception"]


async def test_with_leave_the_last_line_has_what_was_asked_and_answered(store, talkative, ended):
    worker = talkative(log_content=True)
    said, key = "x" * 3000, "sk-abcdefghijklmnop"
    tasks = [new_task(f"say {said}"), new_task(f"say {key}")]
    for task in tasks:
        await store.submit(task)
        await ended(task)
    ends = [(await told(worker, task.task_id))[-1] for task in tasks]
    assert (ends[0]["asked"], ends[0]["answer"]) == (f"say {said}"[:2000], said[:2000])
    assert (ends[1]["asked"], ends[1]["answer"]) == ("say [redacted]", "[redacted]")


async def test_arq_writes_in_the_same_form(talkative):
    worker = talkative()

    async def began() -> bool:
        return "Starting worker" in worker.said()

    await eventually(began)
    whole = worker.said().rpartition("\n")[0].splitlines()
    assert all(json.loads(line)["process"] == "worker" for line in whole)
