"""GET /ready counts the workers that would take a task which is submitted now."""

import httpx

from taskstore.records import WorkerInfo
from taskstore.store import TaskStore


async def test_a_worker_that_takes_quarantined_tasks_only_makes_nothing_ready(
    client: httpx.AsyncClient, store: TaskStore
) -> None:
    await store.renew(WorkerInfo("w1-q", "host", 2, "1", 1, 0, quarantine=True), [])
    answer = await client.get("/ready")
    assert (answer.status_code, answer.json()["checks"]["workers"]["ok"]) == (503, False)
    await store.renew(WorkerInfo("w1", "host", 1, "1", 50, 0), [])
    answer = await client.get("/ready")
    assert (answer.status_code, answer.json()["checks"]["workers"]["detail"]) == (200, "1 alive.")
