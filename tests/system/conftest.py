"""The whole of Longhaul as an operator runs it: a copy of the project, `manage.py start`, HTTP from outside."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil
import pytest

from core_config import ROOT
from operations import leftovers
from tests.conftest import free_port

PARTS = (
    "agent",
    "examples",
    "gateway",
    "loadtest",
    "longhaul_client",
    "monitoring",
    "operations",
    "taskstore",
    "worker",
)
FILES = ("agents_config.py", "core_config.py", "manage.py", "pyproject.toml", "requirements.lock", "schema_rules.py")


# Bytecode is copied along, so that no process compiles anew; not what another process is just writing.
HALF_WRITTEN = shutil.ignore_patterns("*.pyc.*")


class System:
    """One copy, with an environment of its own; ended with the test."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.started = ""
        """What `manage.py start` said when it went well."""
        for part in PARTS:
            shutil.copytree(ROOT / part, folder / part, ignore=HALF_WRITTEN)
        for name in FILES:
            shutil.copy(ROOT / name, folder / name)
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", leftovers.VARIABLE) if name in os.environ},
            "LONGHAUL_NO_VENV": "1",
            "GATEWAY_PORT": str(self.port),
            **environment,
        }
        # a proxy of the machine's has no business on loopback; the tests of proxies set their own variables
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=60)

    def manage(self, *arguments: str, timeout: float = 300) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if arguments[0] == "start" and done.returncode == 0 and "running already" not in done.stdout:
            self.started = done.stdout
        return done

    def start(self) -> "System":
        started = self.manage("start", "--wait", "180")
        assert started.returncode == 0, started.stdout + started.stderr
        return self

    def status(self) -> dict[str, Any]:
        return orjson.loads(self.manage("status", "--json").stdout)

    def pid(self, name: str) -> int:
        return next(process["pid"] for process in self.status()["processes"] if process["name"] == name)

    def kill(self, name: str) -> None:
        os.kill(self.pid(name), signal.SIGKILL)

    def submit(self, message: str, **fields: Any) -> str:
        answer = self.http.post("/task", json={"message": message, **fields})
        assert answer.status_code == 200, answer.text
        return answer.json()["task_id"]

    def final(self, task_id: str, within_s: float = 120) -> dict[str, Any]:
        """The task when it is final; a gateway or Redis that is away meanwhile is asked again, as a client would."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            try:
                answer = self.http.get(f"/task/{task_id}", params={"wait": 10})
            except httpx.TransportError:
                time.sleep(0.1)
                continue
            if answer.status_code == 200 and answer.json()["status"] in {"success", "failed", "cancelled"}:
                return answer.json()
            assert answer.status_code in {200, 503}, answer.text
            time.sleep(0.05)
        raise AssertionError(f"task {task_id} has no final status after {within_s} s")

    def ask(self, message: str, **fields: Any) -> dict[str, Any]:
        return self.final(self.submit(message, **fields))

    def end(self) -> None:
        self.http.close()
        stopped = self.manage("stop") if self.started else None
        left = [
            process
            for process in psutil.process_iter(["cmdline", "cwd"])
            if process.info["cwd"] == str(self.folder) and process.pid != os.getpid()
        ]
        for process in left:
            process.kill()
        assert stopped is None or stopped.returncode == 0, stopped.stdout + stopped.stderr
        assert not left, f"left behind: {left}"


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """As shipped: nothing set but the port."""
    system = System(tmp_path_factory.mktemp("longhaul"))
    system.start()
    yield system
    system.end()


@pytest.fixture
def make_system(tmp_path: Path) -> Iterator[Callable[..., System]]:
    """More copies, not yet started, each with its own environment."""
    made: list[System] = []

    def make(**environment: str) -> System:
        folder = tmp_path / f"copy{len(made)}"
        folder.mkdir()
        made.append(System(folder, **environment))
        return made[-1]

    yield make
    for system in made:
        system.end()
