"""GET /ready: whether a task that is submitted now would be taken and run."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from core_config import Settings
from taskstore.connection import connect
from taskstore.records import WorkerInfo
from taskstore.store import TaskStore
from tests.conftest import RedisServer, free_port

from .conftest import StartGateway, submitted

WORKER = WorkerInfo("w1", "host", 1, "1", 50, 0)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def own_store(own_redis: RedisServer, settings: Settings) -> AsyncIterator[TaskStore]:
    """With a worker that was heard of just now."""
    async with connect(own_redis.url) as client:
        store = TaskStore(client, settings)
        await store.renew(WORKER, [])
        yield store


def told(answer: httpx.Response) -> tuple[int, str, list[str]]:
    """The code, the status, and the checks that are not well."""
    body = answer.json()
    return answer.status_code, body["status"], [name for name, check in body["checks"].items() if not check["ok"]]


async def test_a_worker_that_takes_quarantined_tasks_only_makes_nothing_ready(
    client: httpx.AsyncClient, store: TaskStore
) -> None:
    await store.renew(WorkerInfo("w1-q", "host", 2, "1", 1, 0, quarantine=True), [])
    assert told(await client.get("/ready")) == (503, "not_ready", ["workers"])
    await store.renew(WORKER, [])
    answer = await client.get("/ready")
    assert told(answer) == (200, "ready", [])
    assert answer.json()["checks"]["workers"]["detail"] == "1 alive."
    assert list(answer.json()["checks"]) == ["redis", "workers", "storage", "queue"]


async def test_a_full_queue_is_ready_for_who_reads_and_not_for_who_submits(
    start_gateway: StartGateway, store: TaskStore
) -> None:
    await store.renew(WORKER, [])
    async with start_gateway(queue_max_depth=2).client() as client:
        await submitted(client)
        assert told(await client.get("/ready?accepting=true")) == (200, "ready", [])
        await submitted(client, run_at="2099-01-01T00:00:00Z")
        assert (await client.post("/task", json={"message": "one more"})).status_code == 429
        assert told(await client.get("/ready")) == (200, "full", ["queue"])
        refused = await client.get("/ready?accepting=true")
        assert told(refused) == (503, "full", ["queue"])
        assert refused.headers["retry-after"] == "1"


async def test_what_runs_takes_no_place_in_the_queue(start_gateway: StartGateway, store: TaskStore) -> None:
    async with start_gateway(queue_max_depth=1).client() as client:
        await submitted(client)
        await store.renew(WORKER, [])
        await store.claim("w1", 1, room=1, extra=0, models={"Simulator": None})
        assert told(await client.get("/ready?accepting=true")) == (200, "ready", [])
        await submitted(client)


@pytest.mark.parametrize("part", [0.95, 2.0])
async def test_a_full_redis_is_told_before_a_submit_meets_it(
    part: float, start_gateway: StartGateway, own_redis: RedisServer, own_store: TaskStore
) -> None:
    """In its last tenth, and beyond its limit."""
    await own_store.redis.setrange("ballast", 20_000_000, "x")  # beside which what this test itself takes is nothing
    async with start_gateway(redis_url=own_redis.url).client() as client:
        assert told(await client.get("/ready?accepting=true")) == (200, "ready", [])
        used = (await own_store.redis.info("memory"))["used_memory"]
        await own_store.redis.config_set("maxmemory", int(used / part))
        assert (await client.post("/task", json={"message": "m"})).json()["code"] == "storage_full"
        assert told(await client.get("/ready")) == (200, "full", ["storage"])
        assert told(await client.get("/ready?accepting=true")) == (503, "full", ["storage"])


async def test_a_replica_that_takes_no_writes_is_not_ready(
    start_gateway: StartGateway, own_redis: RedisServer, own_store: TaskStore
) -> None:
    """As a primary becomes one when another was made primary in its place."""
    async with start_gateway(redis_url=own_redis.url).client() as client:
        assert told(await client.get("/ready")) == (200, "ready", [])
        await own_store.redis.replicaof("127.0.0.1", free_port())
        answer = await client.get("/ready")
        assert told(answer)[:2] == (503, "not_ready")
        assert "read-only replica" in answer.json()["checks"]["redis"]["detail"]


async def test_asking_writes_nothing(client: httpx.AsyncClient, store: TaskStore, settings: Settings) -> None:
    await client.get("/ready")
    assert [key async for key in store.redis.scan_iter(f"{settings.key_prefix}*")] == []


async def test_the_names_that_other_balancers_ask_for_answer_alike(client: httpx.AsyncClient, store: TaskStore) -> None:
    for path, other in (("/ready", "/readiness"), ("/health", "/healthz")):
        for _ in range(2):
            first, second = await client.get(path), await client.get(other)
            assert first.status_code == second.status_code
            assert first.json() | {"timestamp": ""} == second.json() | {"timestamp": ""}
            await store.renew(WORKER, [])


async def test_accepting_is_yes_or_no(client: httpx.AsyncClient) -> None:
    answer = await client.get("/ready?accepting=perhaps")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
