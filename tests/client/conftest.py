"""A gateway process and a worker process that the tests of the client share."""

import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from core_config import ROOT
from longhaul_client import Client
from tests.conftest import RedisServer, free_port
from tests.gateway.conftest import GatewayProcess, ending, start_gateway

from .cutting_proxy import CuttingProxy
from .shells import Kind, Shell

__all__ = ["ending", "start_gateway"]

MakeShell = Callable[..., Awaitable[Shell]]
MakeProxy = Callable[..., Awaitable[CuttingProxy]]


class Deployment:
    """Gateways and a worker on one Redis."""

    def __init__(self, redis_url: str, folder: Path, stack: contextlib.ExitStack) -> None:
        self._environment = {
            "PATH": os.environ["PATH"],
            "REDIS_URL": redis_url,
            "KEY_PREFIX": f"c{uuid.uuid4().hex[:8]}:",
            "CHAT_TIMEOUT_SECONDS": "0.5",
        }
        self._folder = folder
        self._stack = stack
        self._numbers = itertools.count()

    def start_gateway(self, port: int) -> GatewayProcess:
        """One that answers."""
        folder = self._folder / f"gateway{next(self._numbers)}"
        folder.mkdir()
        running = GatewayProcess(folder, [], {**self._environment, "GATEWAY_PORT": str(port)}, ())
        self._end(running.process)
        with Client(f"http://127.0.0.1:{port}", retry_for_s=60) as client:
            assert client.request("GET", "/health").status == 200, running.said()
        return running

    def start_worker(self) -> None:
        command = [sys.executable, "-m", "tests.client.worker"]
        with (self._folder / "worker.log").open("wb") as log:
            self._end(subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=log, stderr=subprocess.STDOUT))

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)


@pytest.fixture(scope="session")
def deployment(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with contextlib.ExitStack() as stack:
        made = Deployment(redis_server.url, tmp_path_factory.mktemp("client"), stack)
        made.start_worker()
        yield made


@pytest.fixture(scope="session")
def gateway_port(deployment: Deployment) -> int:
    """Of a gateway that every test leaves as it is."""
    port = free_port()
    deployment.start_gateway(port)
    return port


@pytest.fixture
def url(gateway_port: int) -> str:
    return f"http://127.0.0.1:{gateway_port}"


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
async def shell(kind: Kind) -> AsyncIterator[MakeShell]:
    """Makes clients of either kind."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(url: str, key: str | None = None, **settings: Any) -> Shell:
            return await stack.enter_async_context(Shell(kind, url, key, **settings))

        yield make


@pytest.fixture
async def proxy(gateway_port: int) -> AsyncIterator[MakeProxy]:
    """Starts proxies in front of the gateway."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(*places: int, port: int | None = None) -> CuttingProxy:
            made = CuttingProxy(port or gateway_port, places)
            await made.start()
            stack.push_async_callback(made.stop)
            return made

        yield make


@pytest.fixture
async def direct(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Looks at the gateway without the client."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
        yield client


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await holds():
            await asyncio.sleep(0.02)


async def tasks_of(direct: httpx.AsyncClient, mark: str) -> list[str]:
    """Ids of the tasks with that mark in their metadata."""
    answer = await direct.get("/tasks", params={"metadata": f"mark={mark}"})
    assert answer.status_code == 200, answer.text
    return [task["task_id"] for task in answer.json()["tasks"]]
