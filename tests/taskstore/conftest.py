"""A store whose every verb is followed by an audit, private servers that a test may hurt, and Redis's clock."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from core_config import Settings
from taskstore.connection import Client, connect
from taskstore.scripts import Scripts
from taskstore.store import TaskStore
from tests.conftest import RedisServer

from .state import Contents
from .talk import Runner


class AuditedScripts(Scripts):
    """Runs `audit` after each verb: what a verb leaves behind must always keep the rules."""

    async def run(self, verb: str, *args: str | bytes | float) -> Any:
        try:
            return await super().run(verb, *args)
        finally:
            broken = await super().run("audit")
            assert broken == [], f"after {verb}"


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    """A plain client, to write and to read what Redis holds."""
    async with connect(settings.redis_address) as redis_client:
        yield redis_client


@pytest.fixture
async def audited(client: Client, settings: Settings) -> TaskStore:
    """A store that audits itself after every verb."""
    store = TaskStore(client, settings)
    store._scripts = AuditedScripts(client, settings)
    return store


@pytest.fixture
def runner(audited: TaskStore) -> Runner:
    return Runner(audited)


@pytest.fixture
def contents(client: Redis, settings: Settings) -> Contents:
    return Contents(client, settings.key_prefix)


@pytest.fixture
def private_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of this test's own, to pause, fill, count on and kill."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def private_settings(private_server: RedisServer) -> Settings:
    return Settings(redis_url=private_server.url, key_prefix="p:")


@pytest.fixture
async def private_store(private_settings: Settings) -> AsyncIterator[TaskStore]:
    async with connect(private_settings.redis_address) as redis_client:
        yield TaskStore(redis_client, private_settings)
