"""A private Redis for the run, on a free port, and for each test a key prefix of its own."""

import os
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest
import redis

from core_config import Settings
from longhaul_testing.ports import free_port
from operations.embedded_redis import find_server, server_arguments
from taskstore.connection import connect
from taskstore.store import TaskStore
from tests.schedule import pytest_collection_modifyitems, pytest_xdist_make_scheduler

__all__ = ["RedisServer", "free_port", "pytest_collection_modifyitems", "pytest_xdist_make_scheduler"]

# A shell's background job ignores Ctrl-C, and would hand that on to the processes whose Ctrl-C is tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A developer's own environment must not reach the tests; what one needs, it sets.
for _name in [name for name in os.environ if name in {field.upper() for field in Settings.model_fields}]:
    del os.environ[_name]
Settings.model_config["env_file"] = None

# The same examples each time, and none that fails for being slow: the machine may be busy.
hypothesis.settings.register_profile(
    "longhaul", derandomize=True, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("longhaul")


class RedisServer:
    """A real server that a test may kill, pause and start again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [str(find_server()), *server_arguments(self.port, self.folder), "--loglevel", "warning"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
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
