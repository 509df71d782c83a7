"""Redis that is not there, comes back, is full, or is as full as we let it be."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from core_config import Settings
from taskstore.connection import connect
from taskstore.records import WorkerInfo
from taskstore.store import TaskStore
from taskstore.watch import LOOK_EVERY_S
from tests.conftest import RedisServer

from .conftest import StartGateway, TinyWorker, submitted


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A server that this test may take away; not started yet."""
    with tempfile.TemporaryDirectory(prefix="longhaul-redis-") as folder:
        server = RedisServer(Path(folder))
        yield server
        server.kill()


def is_away(answer: httpx.Response, code: str = "store_unavailable") -> None:
    assert (answer.status_code, answer.json()["code"]) == (503, code)
    assert int(answer.headers["retry-after"]) > 0


async def test_a_gateway_starts_without_redis_and_recovers_by_itself(
    start_gateway: StartGateway, own_redis: RedisServer, settings: Settings
):
    async with start_gateway(redis_url=own_redis.url).client() as client:
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/models")).status_code == 200
        ready = await client.get("/ready")
        assert (ready.status_code, ready.json()["checks"]["redis"]["ok"]) == (503, False)
        assert own_redis.url not in ready.text
        # many at once: none may have to wait for the others' failing connects
        async with asyncio.timeout(10):
            for answer in await asyncio.gather(
                client.post("/chat", json={"message": "m"}),
                client.get(f"/task/{'f' * 32}", params={"wait": 20}),
                client.post(f"/task/{'f' * 32}/cancel"),
                *(client.post("/task", json={"message": "m"}) for _ in range(50)),
            ):
                is_away(answer)

        own_redis.start()
        task_id = await submitted(client)
        wait = asyncio.create_task(client.get(f"/task/{task_id}", params={"wait": 20}))
        chat = asyncio.create_task(client.post("/chat", json={"message": "talk"}))
        redis_client = connect(own_redis.url)
        store = TaskStore(redis_client, settings)
        while (await store.overview()).queued < 2:
            await asyncio.sleep(0.01)

        # whoever waits when Redis goes away is not told of it, as long as it comes back in time
        own_redis.kill()
        is_away(await client.get(f"/task/{task_id}"))
        await asyncio.sleep(LOOK_EVERY_S + 0.5)  # the outage: each of them looks for itself in it, and fails
        own_redis.start()
        worker = TinyWorker(store)
        for _ in range(2):
            await worker.end("success", result="done")
        await redis_client.aclose()
        waited, chatted = await asyncio.wait_for(asyncio.gather(wait, chat), 15)
    assert (waited.status_code, waited.json()["result"]) == (200, "done")
    assert (chatted.status_code, chatted.json()["output"]) == (200, "done")


async def test_a_full_redis_takes_nothing_and_says_so(
    start_gateway: StartGateway, own_redis: RedisServer, settings: Settings, caplog: pytest.LogCaptureFixture
):
    own_redis.start()
    redis_client = connect(own_redis.url)
    async with start_gateway(redis_url=own_redis.url).client() as client:
        task_id = await submitted(client)
        await redis_client.config_set("maxmemory", "1")
        for path in ("/task", "/chat"):
            is_away(await client.post(path, json={"message": "m"}), "storage_full")
        said = [vars(line)["code"] for line in caplog.records if line.getMessage() == "submits_refused"]
        assert said == ["storage_full"], "once, however many are refused"
        assert (await client.get(f"/task/{task_id}")).status_code == 200, "reading goes on"
        await redis_client.config_set("maxmemory", "0")
        await submitted(client)
        assert (await TaskStore(redis_client, settings).overview()).queued == 2
    await redis_client.aclose()


async def test_a_full_queue_is_a_429_and_nothing_is_written(
    start_gateway: StartGateway, store: TaskStore, settings: Settings
):
    async with start_gateway(queue_max_depth=2).client() as client:
        for _ in range(2):
            await submitted(client)
        keys = {key async for key in store.redis.scan_iter(f"{settings.key_prefix}*")}
        for path in ("/task", "/chat"):
            answer = await client.post(path, json={"message": "m"})
            assert (answer.status_code, answer.json()["code"]) == (429, "queue_full")
            assert int(answer.headers["retry-after"]) > 0
        assert {key async for key in store.redis.scan_iter(f"{settings.key_prefix}*")} == keys
        assert "agent_tasks_enqueued_total" in (await client.get("/metrics")).text


async def test_ready_needs_a_live_worker(start_gateway: StartGateway, store: TaskStore):
    async with start_gateway().client() as client:
        ready = await client.get("/ready")
        assert ready.status_code == 503
        assert ready.json()["status"] == "not_ready"
        assert ready.json()["checks"]["redis"]["ok"] is True
        assert "python -m worker" in ready.json()["checks"]["workers"]["detail"]
        await store.renew(WorkerInfo("w1", "host", 1, "0", 5, 0), [])
        ready = await client.get("/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        health = await client.get("/health")
        assert set(health.json()) == {"status", "timestamp"}
        assert health.json()["status"] == "healthy"
