"""A private Redis for the run, on a free port, and for each test a key prefix of its own."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from core_config import Settings
from taskstore.connection import connect
from taskstore.store import TaskStore

# A developer's own environment must not reach the tests; what one needs, it sets.
for _name in [name for name in os.environ if name in {field.upper() for field in Settings.model_fields}]:
    del os.environ[_name]
Settings.model_config["env_file"] = None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """A real server that a test may kill, pause and start again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        binary = shutil.which("redis-server") or shutil.which("valkey-server")
        assert binary
        self.process = subprocess.Popen(
            [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "",
             "--appendonly", "yes", "--maxmemory-policy", "noeviction", "--loglevel", "warning"],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 10
        with redis.Redis.from_url(self.url) as client:
            while time.monotonic() < deadline:
                try:
                    client.ping()
                except redis.exceptions.ConnectionError:
                    time.sleep(0.02)
                else:
                    return
        raise AssertionError("the tests' Redis did not start")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="longhaul-redis-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        yield server
        server.kill()


@pytest.fixture
def settings(redis_server: RedisServer) -> Settings:
    """Settings of a deployment of its own on the tests' Redis."""
    return Settings(redis_url=redis_server.url, key_prefix=f"t{uuid.uuid4().hex[:8]}:")


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[TaskStore]:
    redis_client = connect(settings.redis_address)
    yield TaskStore(redis_client, settings)
    await redis_client.aclose()
