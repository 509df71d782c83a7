from collections.abc import Callable
from pathlib import Path

import pytest

from longhaul_testing import longhaul_settings, longhaul_simulator, run_agent, run_agents, simulator
from longhaul_testing.ports import free_port
from operations import commandline
from tests.gateway.conftest import ending, start_gateway, worker

__all__ = [
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
