"""What a worker counts of attempts, calls and cancels: exactly, and in its own processes."""

import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from monitoring import metrics  # before a test sets the directory that workers share: this process counts for itself
from monitoring.sharing import MULTIPROC_DIR, CountsDirectory
from taskstore.claims import Settlement
from taskstore.records import Kind
from tests.worker.conftest import eventually, new_task
from tests.worker.test_quarantine import in_quarantine
from tests.worker.test_tokens import model
from worker.outage import Outage
from worker.steps import StepLog
from worker.writer import Writer

RUN = ("agent_task_run_seconds_count", "default", "M")
WAIT = ("agent_task_wait_seconds_count",)

Counts = Callable[[], Mapping[tuple[str, ...], float]]


@pytest.fixture
def counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counts:
    """What the workers of the test have counted, by name and label values in the order of the labels' names."""
    directory = CountsDirectory(tmp_path / "counts")
    directory.path.mkdir()
    monkeypatch.setenv(MULTIPROC_DIR, str(directory.path))

    def read() -> Mapping[tuple[str, ...], float]:
        return {
            (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
            for found in directory.read()
            for sample in found.samples
        }

    return read


def of(name: str) -> Mapping[tuple[str, ...], float]:
    """What this process has counted of one metric, by label values in the order of the declaration."""
    declared: metrics.Observed = getattr(metrics, name)
    return {
        tuple(sample.labels.get(label, "") for label in declared._labelnames): sample.value
        for found in declared.collect()
        for sample in found.samples
        if not sample.name.endswith(("_bucket", "_sum"))
    }


async def test_attempts_count_by_how_they_ended_and_calls_by_what_was_called(
    store, start_worker, ended, counts, tmp_path
):
    worker = start_worker(max_retries=1)
    sent = {
        "say hello": "success",
        "raise provider_auth": "fail",
        "raise provider_bad_response": "retry",  # and its second one is the last
        "steps 4": "success",
        "call provider_timeout": "fail",
    }
    for message in sent:
        task = new_task(message)
        await store.submit(task)
        await ended(task)
    interactive = new_task("say hello", kind=Kind.INTERACTIVE)
    await store.submit(interactive)
    await ended(interactive)

    async def all_counted() -> bool:
        return counts().get((*RUN, "success")) == 3

    await eventually(all_counted)
    found = counts()
    assert {name[3]: count for name, count in found.items() if name[:3] == RUN} == {
        "success": 3,
        "fail": 2,
        "retry": 1,
        "bury": 1,
    }
    assert found[*WAIT, "batch", "M"] == 6
    assert found[*WAIT, "interactive", "M"] == 1
    assert {name[1:]: count for name, count in found.items() if name[0] == "agent_model_calls_total"} == {
        ("", "M"): 2,
        ("provider_timeout", "M"): 1,
    }
    assert found["agent_model_call_seconds_count", "M"] == 2
    assert found["agent_model_call_seconds_sum", "M"] == pytest.approx(0.0408)
    assert found["agent_tool_calls_total", "error", "adder"] == 2
    assert found["agent_tool_calls_total", "ok", "adder"] == 0
    assert found["agent_tool_call_seconds_count", "adder"] == 2
    assert found["agent_redis_call_seconds_count", "settle"] >= 1
    assert found["agent_late_writes_refused_total", "settle"] == 0
    assert found["agent_process_memory_bytes", "worker"] > 1_000_000
    assert (found["agent_worker_slots", "used"], found["agent_worker_slots", "free"]) == (0, 4)
    worker.signal(signal.SIGKILL)
    worker.process.wait()
    found = counts()
    assert found[*RUN, "success"] == 3
    assert not any(name[0] in {"agent_worker_slots", "agent_process_memory_bytes"} for name in found)


async def test_a_cancel_is_timed_from_its_request_by_redis_s_clock(store, start_worker, ended, running, counts):
    start_worker()
    task = new_task("spend")
    await store.submit(task)
    await running(task)

    async def takes_a_slot() -> bool:
        return counts()["agent_worker_slots", "used"] == 1

    await eventually(takes_a_slot)
    seconds, micros = await store.redis.time()
    # as the script writes it, half a minute ago
    await store.redis.hset(store.keys.task(task.task_id), "cancel_at", seconds * 1000 + micros // 1000 - 30_000)
    assert (await ended(task)).status == "cancelled"

    async def counted() -> bool:
        return counts()["agent_cancel_seconds_count",] == 1

    await eventually(counted)
    assert 30 <= counts()["agent_cancel_seconds_sum",] < 90
    assert counts()[*RUN, "cancelled"] == 1


async def test_a_repeated_settle_tells_the_same_time_since_the_cancel(store):
    task = new_task()
    await store.submit(task)
    (claim,) = (await store.claim("w", 1, room=1, extra=0, models={"M": None})).tasks
    assert await store.cancel(task.task_id) == "running"
    settlement = Settlement(task_id=task.task_id, fence=claim.fence, kind="cancelled")
    (first,) = await store.settle([settlement])
    (again,) = await store.settle([settlement])
    assert first == again == "ok"
    assert first.cancelled_after_ms is not None
    assert first.cancelled_after_ms == again.cancelled_after_ms >= 0


async def test_a_claim_says_how_long_its_task_was_ready(store):
    task = new_task()
    await store.submit(task)
    seconds, micros = await store.redis.time()
    await store.redis.hset(store.keys.task(task.task_id), "ready_at", seconds * 1000 + micros // 1000 - 5_000)
    (claim,) = (await store.claim("w", 1, room=1, extra=0, models={"M": None})).tasks
    (again,) = (await store.claim("w", 1, room=1, extra=0, models={"M": None})).tasks
    assert 5_000 <= claim.queued_ms < 65_000
    assert again.queued_ms == claim.queued_ms


async def test_a_worker_that_wakes_after_its_lease_counts_what_it_lost(
    store, tmp_path, start_worker, ended, running, counts
):
    """It ends its attempt when it wakes, or finds out when it settles: one of the two, and never as a success."""
    zombie = start_worker()
    task = new_task(f"hold {tmp_path}/go")
    await store.submit(task)
    await running(task)
    zombie.signal(signal.SIGSTOP)
    start_worker()
    await running(task, attempt=2)
    (tmp_path / "go").touch()
    await ended(task)
    zombie.signal(signal.SIGCONT)

    async def counted() -> bool:
        found = counts()
        return found.get((*RUN, "lost")) == 1 and found.get((*RUN, "success")) == 1

    await eventually(counted)
    found = counts()
    assert found["agent_leases_lost_total",] + found["agent_late_writes_refused_total", "settle"] == 1


async def test_a_write_of_a_fence_that_is_over_counts_by_its_verb(store):
    """An outcome and a step, of a worker that nobody has told yet."""
    task = new_task()
    await store.submit(task)
    (claim,) = (await store.claim("w", 1, room=1, extra=0, models={"M": None})).tasks
    await store.sweep(dead="w")
    before = of("LATE_WRITES")
    writer = Writer(store, Outage())
    await writer.start()
    steps = StepLog(claim, str, writer.noted)
    steps.note(model(1, "start"))

    async def refused() -> bool:
        return of("LATE_WRITES")[("step",)] == before[("step",)] + 1

    await eventually(refused)
    settlement = Settlement(task_id=task.task_id, fence=claim.fence, kind="success", result="late")
    assert await writer.settle(settlement, steps) == "lease_lost"
    await writer.stop()
    assert of("LATE_WRITES") == {(verb,): count + 1 for (verb,), count in before.items()}


async def test_a_quarantined_task_counts_in_its_own_lane_and_takes_no_slot(
    store, start_worker, ended, counts, monkeypatch, tmp_path
):
    monkeypatch.setenv("LEAVES_AFTER_S", "600")
    task = new_task(f"hold {tmp_path}/go")
    await in_quarantine(store, task)
    start_worker()

    async def counted() -> bool:
        return counts().get((*WAIT, "quarantine", "M")) == 1

    await eventually(counted)
    found = counts()
    assert found["agent_worker_slots", "used"] == 0
    assert found["agent_process_memory_bytes", "quarantine"] > 1_000_000
    (tmp_path / "go").touch()
    await ended(task)
