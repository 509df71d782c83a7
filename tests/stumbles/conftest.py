"""A gateway and a worker as processes, with the settings that ship, on a Redis of their own behind a proxy."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from core_config import ROOT
from tests.conftest import free_port

from .redis_process import ProxyThread, StumblingRedis, until

MODELS = '[M]\nlitellm_id = "openai/m"\nbase_url = "http://127.0.0.1:9/v1"\n'
"""The model of tests/worker/scripted.py, which calls none."""
LEASE_S = 5
"""What ships."""


class Stumbling:
    """The system, and what the tests ask of it."""

    def __init__(self, folder: Path, **of_redis: str) -> None:
        """`of_redis`: what stands in the environment of Redis alone."""
        self.folder = folder
        (folder / "redis").mkdir()
        (folder / "models.toml").write_text(MODELS)
        self.redis = StumblingRedis(folder / "redis", **of_redis)
        self.redis.start()
        self.proxy = ProxyThread(self.redis.port)
        port = free_port()
        self.environment = {
            "PATH": os.environ["PATH"],
            "REDIS_URL": self.proxy.url,
            "GATEWAY_PORT": str(port),
            "MODELS_FILE": str(folder / "models.toml"),
            "ACTIVE_MODEL_KEY": "M",
        }
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30)
        self.gateway = self._launch("gateway", "-m", "gateway")
        self.worker = self._launch("worker", "-m", "tests.worker.scripted", "w1")

    def _launch(self, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, *arguments], cwd=ROOT, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def stop(self) -> None:
        for process in (self.gateway, self.worker):
            process.kill()
            process.wait()
        self.http.close()
        self.proxy.stop()
        self.redis.stop()

    def is_well(self) -> bool:
        assert (self.gateway.poll(), self.worker.poll()) == (None, None), self.said("gateway") + self.said("worker")
        try:
            return self.http.get("/ready").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    # -- what clients do

    def submit(self, message: str, **body: Any) -> httpx.Response:
        return self.http.post("/task", json={"message": message, **body})

    def accepted(self, message: str, **body: Any) -> str:
        """The id of a task that was let in."""
        answer = self.submit(message, **body)
        assert answer.status_code == httpx.codes.OK, answer.text
        return str(answer.json()["task_id"])

    def task(self, task_id: str) -> dict[str, Any]:
        answer = self.http.get(f"/task/{task_id}")
        assert answer.status_code == httpx.codes.OK, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def running(self, path: Path) -> str:
        """The id of a task that runs until the file exists."""
        task_id = self.accepted(f"hold {path}")
        until(lambda: self.task(task_id)["status"] == "running", "it runs")
        return task_id

    def ended(self, task_id: str) -> dict[str, Any]:
        """The task once it is final; calls that are refused meanwhile are made again."""

        def final() -> dict[str, Any] | None:
            answer = self.http.get(f"/task/{task_id}", params={"wait": 5})
            assert answer.status_code in {200, 503}, answer.text
            found: dict[str, Any] = answer.json()
            return found if found["status"] in {"success", "failed", "cancelled"} else None

        return until(final, "it ends", 90)

    def record(self, task_id: str) -> dict[str, str]:
        """As it is stored."""
        found: dict[str, str] = self.redis.client.hgetall(f"lh:task:{task_id}")  # type: ignore[assignment]  # redis-py's types are of both clients
        return found

    def lease_of(self, task_id: str) -> float:
        """When it ends, in milliseconds of Redis's clock."""
        score = self.redis.client.zscore(f"lh:{self.record(task_id)['at']}", task_id)
        assert score is not None, "it holds no lease"
        return float(score)  # type: ignore[arg-type]  # as above


def is_refused(answer: httpx.Response, code: str) -> None:
    """A 503 that says when to come again."""
    assert (answer.status_code, answer.json()["code"]) == (503, code), answer.text
    assert int(answer.headers["retry-after"]) > 0


def charged_nothing(task: dict[str, Any], stumbling: Stumbling) -> None:
    record = stumbling.record(task["task_id"])
    assert (task["status"], task["result"], task["attempt"]) == ("success", "done", 1)
    assert (record["crashes"], record["retries"]) == ("0", "0")


@pytest.fixture(scope="session")
def stumbling_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stumbling]:
    system = Stumbling(tmp_path_factory.mktemp("stumbling"))
    try:
        until(system.is_well, "it is ready", 120)
        yield system
    finally:
        system.stop()


@pytest.fixture
def stumbling(stumbling_system: Stumbling) -> Iterator[Stumbling]:
    """Well before each test, and well after it: whatever happened to Redis, nobody had to help the processes."""
    until(stumbling_system.is_well, "it is well before the test")
    yield stumbling_system
    until(stumbling_system.is_well, "it is well again")


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """The file that lets a running task end; made at the latest when the test ends."""
    return tmp_path / f"go-{uuid.uuid4().hex}"
