import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core_config import ROOT
from longhaul_testing import longhaul_settings, longhaul_simulator, run_agent, run_agents, simulator
from longhaul_testing.ports import free_port
from operations import commandline
from tests.gateway.conftest import ending, start_gateway, worker
from tests.page.chromium import chromium
from tests.stumbles.redis_process import StumblingRedis

__all__ = [
    "chromium",
    "ending",
    "longhaul_settings",
    "longhaul_simulator",
    "run_agent",
    "run_agents",
    "simulator",
    "start_gateway",
    "worker",
]

Command = Callable[..., str]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command of manage.py in this process, in a copy that nobody else uses; returns all that it says."""

    def run(name: str, *arguments: str, **environment: str) -> str:
        with monkeypatch.context() as patch:
            defaults = {"VAR_DIR": str(tmp_path / "var"), "GATEWAY_PORT": str(free_port())}
            for variable, value in {**defaults, **environment}.items():
                patch.setenv(variable, value)
            commandline.run(name, arguments)
        said = capsys.readouterr()
        return said.out + said.err

    return run


@pytest.fixture
def by_hand() -> Command:
    """Runs `python -m PROCESS`, which must end by itself as a mistaken configuration does; returns what it says."""

    def run(process: str, *arguments: str, **environment: str) -> str:
        ended = subprocess.run(
            [sys.executable, "-m", process, *arguments],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "GATEWAY_PORT": str(free_port()), **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ended.returncode == 2, ended.stderr
        return ended.stdout + ended.stderr

    return run


@pytest.fixture
def stumbling_redis(tmp_path: Path) -> Iterator[StumblingRedis]:
    """A Redis of the test's own."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = StumblingRedis(folder)
    server.start()
    yield server
    server.stop()
