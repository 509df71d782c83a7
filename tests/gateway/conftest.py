"""A gateway over real HTTP: in a thread for most tests, as a process where the process is the point."""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from core_config import ROOT, Settings
from gateway.app import create_app
from gateway.server import Server, own_socket
from taskstore.claims import Claim, SettleKind, Settlement
from taskstore.store import TaskStore

JSON = {"content-type": "application/json"}

StartGateway = Callable[..., "RunningGateway"]


class RunningGateway:
    """One gateway in a thread of its own, with its own event loop."""

    def __init__(self, settings: Settings) -> None:
        self.app = create_app(settings)
        self._listener = own_socket("127.0.0.1", 0)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = Server(self.app)
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],), daemon=True)

    def start(self) -> None:
        self._thread.start()
        until = time.monotonic() + 60
        while not self._server.started:
            assert self._thread.is_alive(), "the gateway did not start"
            assert time.monotonic() < until, "the gateway did not start"
            time.sleep(0.005)

    def begin_stop(self) -> None:
        self._server.should_exit = True

    def stop(self) -> None:
        self.begin_stop()
        self._thread.join(15)
        assert not self._thread.is_alive()

    def client(self, key: str | None = None, timeout: float = 20) -> httpx.AsyncClient:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=timeout, trust_env=False)

    def connect(self) -> socket.socket:
        """A bare connection, for what no HTTP client would send."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


@pytest.fixture(scope="session")
def ending() -> Iterator[list[RunningGateway]]:
    """Gateways that were told to stop. uvicorn takes a fifth of a second for it, which no test has to wait for."""
    gateways: list[RunningGateway] = []
    yield gateways
    for gateway in gateways:
        gateway.stop()


@pytest.fixture
def start_gateway(settings: Settings, ending: list[RunningGateway]) -> Iterator[StartGateway]:
    """Starts gateways with these settings changed; ends them all."""
    begun = len(ending)

    def start(**changes: Any) -> RunningGateway:
        gateway = RunningGateway(settings.model_copy(update=changes))
        gateway.start()
        ending.append(gateway)
        return gateway

    yield start
    for gateway in ending[begun:]:
        gateway.begin_stop()


@pytest.fixture
def gateway(start_gateway: StartGateway) -> RunningGateway:
    return start_gateway()


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client() as client:
        yield client


class TinyWorker:
    """Drives tasks to their ends through the store, as a worker does."""

    def __init__(self, store: TaskStore) -> None:
        self._store = store
        self._numbers = itertools.count(1)

    async def take(self) -> Claim:
        claimed = await self._store.claim("w1", next(self._numbers), room=1, extra=1, models={"Simulator": None})
        (claim,) = claimed.tasks
        return claim

    async def end(self, kind: SettleKind, claim: Claim | None = None, **outcome: Any) -> Claim:
        claim = claim or await self.take()
        settlement = Settlement(task_id=claim.task_id, fence=claim.fence, kind=kind, **outcome)
        assert await self._store.settle([settlement]) == ["ok"]
        return claim


@pytest.fixture
def worker(store: TaskStore) -> TinyWorker:
    return TinyWorker(store)


async def submitted(client: httpx.AsyncClient, **body: Any) -> str:
    """The id of a task that was just submitted."""
    answer = await client.post("/task", json={"message": "hello", **body})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["task_id"])


class GatewayProcess:
    """`python -m gateway`, as an operator runs it."""

    def __init__(self, folder: Path, arguments: list[str], environment: dict[str, str], fds: tuple[int, ...]) -> None:
        self._log = folder / "gateway.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", *arguments],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], **environment},
                pass_fds=fds,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def said(self) -> str:
        return self._log.read_text()

    def ended(self, within_s: float = 60) -> int:
        return self.process.wait(within_s)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)


@pytest.fixture
def run_gateway(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., GatewayProcess]]:
    with contextlib.ExitStack() as stack:

        def run(*arguments: str, fds: tuple[int, ...] = (), **environment: str) -> GatewayProcess:
            base = {"REDIS_URL": settings.redis_address, "KEY_PREFIX": settings.key_prefix}
            running = GatewayProcess(tmp_path, list(arguments), {**base, **environment}, fds)
            stack.callback(running.process.wait)
            stack.callback(running.process.kill)
            return running

        yield run
