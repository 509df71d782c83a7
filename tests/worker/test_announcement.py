"""A worker's first word: which agents it can run, told before anybody hears of the worker."""

import asyncio
import json

import pytest

from core_config import Settings
from taskstore.connection import connect
from taskstore.errors import AgentUnavailable
from taskstore.store import TaskStore
from tests.conftest import RedisServer
from tests.worker.conftest import eventually, new_task
from worker.announcement import LONGEST_PROBLEM, announce
from worker.outage import Outage

KEY = "sk-" + "k" * 40


async def test_a_worker_says_it_before_it_is_heard_of_and_runs_the_others(store, start_worker, ended):
    agents = {"default": None, "writer": f"agents.toml, line 3: cannot import letters (key {KEY})"}
    worker = start_worker(f"agents={json.dumps(agents)}")

    async def heard_of():
        overview = await store.overview()
        assert not overview.workers or overview.agents, "heard of before it spoke"
        return overview.agents if overview.workers else None

    said = await eventually(heard_of)
    assert {name: report.worker for name, report in said.items()} == dict.fromkeys(agents, worker.name)
    assert said["default"].problem is None
    assert "agents.toml, line 3: cannot import letters" in said["writer"].problem
    assert KEY not in said["writer"].problem
    assert "agent_unavailable agent=writer problem=" in worker.said()
    assert KEY not in worker.said()

    with pytest.raises(AgentUnavailable):
        await store.submit(new_task(agent="writer"))
    task = new_task("say hello")
    await store.submit(task)
    assert (await ended(task)).result == "hello"


async def test_what_an_older_worker_takes_and_cannot_run_waits_for_the_newer_one(store, start_worker, ended):
    """As while workers are replaced: the old one still claims, and the new one has spoken."""
    start_worker('agents={"default": null}')
    await eventually(lambda: said_by(store, "default"))
    task = new_task("raise agent_unknown", agent="writer")  # whoever takes it has no such agent
    newer = TaskStore(store.redis, store._settings)
    await newer.report("newer", {"default": None, "writer": None})
    await store.redis.zadd(store.keys.workers(), {"newer": 9e12})  # is seen, whatever the time
    await store.submit(task)

    async def handed_on():
        return (await store.get(task.task_id)).fence >= 2

    await eventually(handed_on)
    record = await store.get(task.task_id)
    assert (record.is_final, record.retries, record.crashes) == (False, 0, 0)
    assert record.attempt <= 1
    await newer.report("newer", {"default": None})
    assert (await ended(task)).error_code == "agent_unknown"


async def said_by(store: TaskStore, agent: str) -> bool:
    return agent in (await store.overview()).agents


async def test_a_redis_that_is_away_hears_it_when_it_is_back(tmp_path):
    server = RedisServer(tmp_path)
    settings = Settings(redis_url=server.url, key_prefix="p:")

    async def prepare() -> dict[str, str | None]:
        return {"default": None, "long": "x" * 10_000}

    outage = Outage()

    async def away() -> bool:
        return bool(outage._since)

    async with connect(settings.redis_address) as client:
        store = TaskStore(client, settings)
        telling = asyncio.create_task(announce(store, "w1", prepare, str, outage))
        await eventually(away)
        server.start()
        try:
            await asyncio.wait_for(telling, 20)
            said = (await store.overview()).agents
        finally:
            server.kill()
    assert not await away()
    assert (said["default"].problem, said["long"].problem) == (None, "x" * LONGEST_PROBLEM)
