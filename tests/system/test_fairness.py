"""Ten thousand tasks in the queue, every slot taken: who gets in all the same."""

import asyncio
import time
import uuid
from collections.abc import Iterator

import pytest

from core_config import Settings
from taskstore.connection import connect
from taskstore.records import NewTask
from taskstore.store import TaskStore
from tests.conftest import RedisServer

QUEUED = 10_000


async def _queue(settings: Settings) -> TaskStore:
    client = connect(settings.redis_address)
    store = TaskStore(client, settings)
    for _ in range(QUEUED // 100):
        await asyncio.gather(
            *(
                store.submit(
                    NewTask(
                        task_id=uuid.uuid4().hex, caller="local", message="[[delay=900]] hold", model="Simulator",
                        share="local",
                    )
                )
                for _ in range(100)
            )
        )  # fmt: skip
    until = time.monotonic() + 60
    while (await store.overview()).running < settings.worker_concurrency:
        assert time.monotonic() < until
        await asyncio.sleep(0.05)
    return store


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Ten thousand tasks in the Redis of all tests would be in the way of some, such as the doctor's."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


async def test_chat_starts_at_once_in_an_extra_slot(own_redis, make_system):
    prefix = f"f{uuid.uuid4().hex[:6]}:"
    system = make_system(
        REDIS_URL=own_redis.url,
        KEY_PREFIX=prefix,
        WORKER_CONCURRENCY="5",
        DRAIN_SECONDS="0",
        ATTEMPT_TIMEOUT_SECONDS="900",
        MODEL_TIMEOUT_SECONDS="900",
    ).start()
    settings = Settings(redis_url=own_redis.url, key_prefix=prefix, worker_concurrency=5)
    store = await _queue(settings)
    answer = await asyncio.to_thread(system.http.post, "/chat", json={"message": "Compute 2 * 21"})
    assert answer.status_code == 200, answer.text
    assert "42" in answer.json()["output"]
    overview = await store.overview()
    assert overview.running == 5
    assert overview.queued == QUEUED - 5
    chat = await store.get(answer.json()["task_id"])
    assert chat.queued_ms is not None
    assert chat.queued_ms < 60_000  # the held ones would have taken 15 minutes
    await store.redis.aclose()
    async with connect(settings.redis_address, blocking=True) as patient:  # an audit of so many takes its time
        assert await TaskStore(patient, settings).audit() == []
