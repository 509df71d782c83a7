"""A gateway and a worker as processes, with keys on, on a Redis of their own: what a client meets in production."""

import hashlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from hypothesis.internal.cache import LRUCache
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

from core_config import ROOT
from tests.conftest import RedisServer, free_port

ALICE, BOB, CAROL = "ak_alice_1", "ak_bob_1", "ak_carol_1"


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


API_KEYS = f"alice:{digest(ALICE)},bob:{digest(BOB)},carol:{digest(CAROL)}:admin"


@dataclass(frozen=True)
class Deployment:
    """One gateway and one worker, whose agent answers with the message (tests/edges/echo_worker.py)."""

    url: str
    redis_url: str
    prefix: str
    folder: Path

    def client(self, key: str | None = ALICE) -> httpx.Client:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=30)

    def logs(self) -> str:
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))


@pytest.fixture(scope="module")
def deployment(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("edges")
    port = free_port()
    running = Deployment(f"http://127.0.0.1:{port}", redis_server.url, f"e{uuid.uuid4().hex[:8]}:", folder)
    environment = {
        "PATH": os.environ["PATH"],
        "REDIS_URL": running.redis_url,
        "KEY_PREFIX": running.prefix,
        "GATEWAY_PORT": str(port),
        "API_KEYS": API_KEYS,
        "ACTIVE_MODEL_KEY": "Simulator",
    }
    processes = []
    try:
        for name, module in (("gateway", "gateway"), ("worker", "tests.edges.echo_worker")):
            with (folder / f"{name}.log").open("wb") as log:
                command = [sys.executable, "-m", module]
                processes.append(
                    subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
                )
        _until_ready(running, processes)
        yield running
        assert [process.poll() for process in processes] == [None, None], running.logs()
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _until_ready(running: Deployment, processes: "list[subprocess.Popen[bytes]]") -> None:
    until = time.monotonic() + 120
    with running.client() as client:
        while True:
            try:
                if client.get("/ready").status_code == 200:
                    return
            except httpx.TransportError:
                pass  # not listening yet
            assert [process.poll() for process in processes] == [None, None], running.logs()
            assert time.monotonic() < until, running.logs()
            time.sleep(0.05)


@pytest.fixture
def same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hypothesis mixes constants of whatever code is loaded into what it draws. Without them the same seed draws the
    same, whichever tests ran before and whatever changed elsewhere.
    """
    monkeypatch.setattr(providers, "_get_local_constants", Constants)
    monkeypatch.setattr(providers, "CONSTANTS_CACHE", LRUCache(1024))
