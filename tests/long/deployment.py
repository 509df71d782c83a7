"""Longhaul without its supervisor: Redis, gateway, simulator and workers as single processes, with shipped settings."""

import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from core_config import ROOT
from longhaul_testing.ports import free_port
from longhaul_testing.process import command
from operations import leftovers
from tests.conftest import RedisServer

from .running import AGENTS_FILE, Running, until


class Deployment:
    """`settings` are variables of `.env`; none is set but addresses, the agents file and these."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        folder.mkdir()
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        (folder / "redis").mkdir()
        self.redis_server = RedisServer(folder / "redis")
        self.redis_server.start()
        self.simulator_url = f"http://127.0.0.1:{free_port()}"
        port = free_port()
        self._environment = {
            **{name: os.environ[name] for name in ("PATH", leftovers.VARIABLE) if name in os.environ},
            "REDIS_URL": self.redis_server.url,
            "GATEWAY_PORT": str(port),
            "VAR_DIR": str(folder),
            "WORKER_METRICS_PORT": "0",  # one for all of them, which each would want
            "AGENTS_FILE": str(AGENTS_FILE),
            "ACTIVE_MODEL_KEY": "Simulator",
            "SIMULATOR_PORT": self.simulator_url.rpartition(":")[2],
            **{name: str(value) for name, value in settings.items()},
        }
        self.seen = Running(f"http://127.0.0.1:{port}", self.redis_server.url, folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seen.close()
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        self.redis_server.kill()

    def start_gateway(self) -> None:
        self._start("gateway")
        until(lambda: _answers(self.seen.url + "/health"), "the gateway answers")

    def start_simulator(self, *options: str) -> None:
        self._start("loadtest.simulator", "--port", self._environment["SIMULATOR_PORT"], *options)
        until(lambda: _answers(self.simulator_url + "/health"), "the simulator answers")

    def start_worker(self) -> "subprocess.Popen[bytes]":
        """Returns at once; `at_work` waits."""
        return self._start("worker")

    def at_work(self, *workers: "subprocess.Popen[bytes]") -> None:
        pids = {worker.pid for worker in workers}
        until(lambda: pids <= self.seen.workers(), "the workers are at work", within_s=600)

    def said(self, name: str) -> str:
        """The log of `gateway` or of all workers together."""
        return (self._folder / f"{name}.log").read_text()

    def _start(self, module: str, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self._folder / f"{module.rpartition('.')[2]}.log").open("ab") as log:
            process = subprocess.Popen(
                command(module, *arguments), cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )
        self._processes.append(process)
        return process


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=2).status_code == 200
    except httpx.TransportError:
        return False
