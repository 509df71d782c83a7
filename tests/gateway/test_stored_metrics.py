"""The metrics page's numbers from Redis: the same on every gateway, right while Redis comes and goes, cheap."""

import asyncio
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from core_config import Settings
from monitoring.metrics import STORED
from monitoring.stored_page import StoredMetrics
from taskstore.connection import connect
from taskstore.records import NewTask, TokenUsage
from taskstore.store import TaskStore
from tests.conftest import RedisServer

from .conftest import StartGateway, TinyWorker, submitted

STORED_NAMES = {stored.name for stored in STORED}


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A server that this test may take away."""
    with tempfile.TemporaryDirectory(prefix="longhaul-redis-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        yield server
        server.kill()


async def stored(client: httpx.AsyncClient) -> dict[tuple[str, ...], float]:
    """The page's stored series, by name and label values in the order of their names."""
    page = await client.get("/metrics")
    assert page.status_code == 200
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(page.text)
        for sample in family.samples
        if sample.name in STORED_NAMES
    }


async def test_every_gateway_tells_what_became_of_the_tasks(start_gateway: StartGateway, worker: TinyWorker):
    async with start_gateway().client() as client, start_gateway().client() as other:
        for _ in range(3):
            await submitted(client, model="Simulator", session_id="chat", user_id="u")
        await submitted(other, model="Simulator")
        usage = TokenUsage(100, 20, 120)
        await worker.end("success", result="x", usage=usage, cost_usd=0.25, answered_by="Simulator")
        await worker.end("bury", error_code="internal", error="no", usage=usage, cost_usd=None)
        await worker.take()
        here, there = await stored(client), await stored(other)
    who = ("default", "local", "Simulator")
    expected: dict[tuple[str, ...], float] = {
        ("agent_tasks_submitted_total", "default", "local", "batch", "Simulator"): 4,
        ("agent_tasks_finished_total", "default", "local", "", "Simulator", "success"): 1,
        ("agent_tasks_finished_total", "default", "local", "internal", "Simulator", "failed"): 1,
        ("agent_dead_letters_total", "default", "internal", "Simulator"): 1,
        ("agent_attempts_total", "default", "Simulator"): 3,
        ("agent_tokens_total", "default", "local", "completion", "Simulator"): 40,
        ("agent_tokens_total", "default", "local", "prompt", "Simulator"): 200,
        ("agent_cost_usd_total", *who): 0.25,
        ("agent_unpriced_answers_total", "Simulator"): 1,
        ("agent_tasks_running", "batch", "Simulator"): 1,
        ("agent_queue_depth", "batch", "Simulator"): 0,
        ("agent_queue_depth", "interactive", "Simulator"): 0,
        ("agent_queue_depth", "quarantine", ""): 0,
        ("agent_tasks_blocked", "local"): 1,
        ("agent_dead_letters",): 1,
        ("agent_sessions", "active"): 1,
        ("agent_workers", "ordinary"): 1,
        ("agent_redis_up",): 1,
        ("agent_redis_persistence_ok",): 1,
        ("agent_paused", "agent", "default"): 0,
        ("agent_model_cooling", "Simulator"): 0,
    }
    assert {key: here.get(key) for key in expected} == expected
    moving = {"agent_queue_oldest_age_seconds", "agent_redis_memory_bytes"}
    assert {key: value for key, value in here.items() if key[0] not in moving} == {
        key: value for key, value in there.items() if key[0] not in moving
    }
    assert {name for name, *_ in here} == STORED_NAMES - {"agent_retries_total"}, "nothing was tried again"


async def test_the_page_comes_without_redis_and_tells_nothing_old(start_gateway: StartGateway, own_redis: RedisServer):
    async with start_gateway(redis_url=own_redis.url).client() as client:
        await submitted(client)
        before = await stored(client)
        assert before["agent_redis_up",] == 1
        own_redis.kill()
        assert await stored(client) == {("agent_redis_up",): 0}
        assert "agent_requests_total" in (await client.get("/metrics")).text
        own_redis.start()
        after = await stored(client)
        assert {key: value for key, value in after.items() if key[0].endswith("_total")} == {
            key: value for key, value in before.items() if key[0].endswith("_total")
        }


async def test_pages_that_wait_for_a_redis_that_hangs_share_one_read(
    start_gateway: StartGateway, own_redis: RedisServer, caplog: pytest.LogCaptureFixture
):
    async with start_gateway(redis_url=own_redis.url).client() as client, connect(own_redis.url) as redis_client:
        assert (await stored(client))["agent_redis_up",] == 1

        async def connections() -> int:
            return int((await redis_client.info("stats"))["total_connections_received"])

        before = await connections()
        assert own_redis.process
        own_redis.process.send_signal(signal.SIGSTOP)
        try:
            pages = await asyncio.gather(*(stored(client) for _ in range(30)))
            pages.append(await stored(client))
        finally:
            own_redis.process.send_signal(signal.SIGCONT)
        assert pages == [{("agent_redis_up",): 0}] * 31
        said = [vars(line)["reason"] for line in caplog.records if line.getMessage() == "stored_metrics_missing"]
        assert said == ["none in 1 s"], "once, and a page does not wait as long as a command may take"
        assert (await stored(client))["agent_redis_up",] == 1
        # a read that is given up costs its connection, and thirty reads would have cost thirty; on a busy machine some
        # pages may come when a read is over
        assert await connections() - before < 15


async def test_a_page_that_is_given_up_takes_the_read_from_nobody(store: TaskStore):
    stored_metrics = StoredMetrics(store, models=[], agents=[])
    first, second = (asyncio.create_task(stored_metrics.read()) for _ in range(2))
    await asyncio.sleep(0)  # both wait for one read from here on
    first.cancel()
    assert [metric for metric in (await second).collect() if metric.name == "agent_redis_up"]


async def scrape_cost(client: httpx.AsyncClient, redis_client: Any) -> dict[str, int]:
    """Commands that ten pages cause, one after another."""
    await stored(client)
    await redis_client.config_resetstat()
    for _ in range(10):
        await stored(client)
    commands = await redis_client.info("commandstats")
    return {
        name: stat["calls"]
        for name, stat in commands.items()
        if name not in {"cmdstat_config|resetstat", "cmdstat_info", "cmdstat_ping"}
    }


async def test_a_page_costs_redis_the_same_whatever_is_queued(
    start_gateway: StartGateway, own_redis: RedisServer, settings: Settings
):
    there = settings.model_copy(update={"redis_url": own_redis.url})
    async with start_gateway(redis_url=own_redis.url).client() as client, connect(own_redis.url) as redis_client:
        store = TaskStore(redis_client, there)

        async def queue(first: int, last: int) -> None:
            for number in range(first, last):
                await store.submit(NewTask(task_id=f"t{number}", caller="local", message="x", model="Simulator"))

        await queue(0, 10)
        few = await scrape_cost(client, redis_client)
        await queue(10, 1_000)
        assert await scrape_cost(client, redis_client) == few
        assert few["cmdstat_evalsha"] == 10
        assert (await stored(client))["agent_queue_depth", "batch", "Simulator"] == 1_000
