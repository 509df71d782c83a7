"""Machines whose clocks are an hour off: every time that counts is Redis's own, so nothing is different."""

import signal
from datetime import UTC, datetime, timedelta

from tests.worker.conftest import new_task

HOUR = timedelta(hours=1)


async def test_workers_with_wrong_clocks_keep_leases_deadlines_and_due_times(
    store, tmp_path, start_worker, ended, running
):
    fast = start_worker(clock=HOUR)
    seconds, micros = await store.redis.time()
    due_ms = seconds * 1000 + micros // 1000 + 1_000
    held, late = new_task(f"hold {tmp_path}/go", deadline_ms=60_000), new_task("spend", deadline_ms=500)
    await store.submit(held)
    await running(held)
    slow = start_worker(clock=-HOUR)
    for task in (due := new_task("say on time", run_at_ms=due_ms), late):
        await store.submit(task)
    assert (await ended(late)).error_code == "deadline_exceeded"
    record = await ended(due)
    assert (record.status, record.attempt) == ("success", 1)
    assert record.started_at is not None
    assert record.started_at.timestamp() * 1000 >= due_ms
    # its lease, a second long, was kept by the one and not taken by the other
    assert (await store.get(held.task_id)).attempt == 1
    fast.signal(signal.SIGKILL)
    assert (await running(held, attempt=2)).crashes == 1
    (tmp_path / "go").touch()
    assert (await ended(held)).status == "success"
    for worker, off in ((fast, HOUR), (slow, -HOUR)):
        wrote = datetime.fromisoformat(worker.said().splitlines()[0].split()[0])
        assert abs(wrote - off - datetime.now(UTC)) < HOUR / 2, "its clock is not wrong"
