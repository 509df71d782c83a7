"""A copy of the project in a temporary directory, with small programs in the place of gateway, worker and simulator.

`manage.py` and the supervisor in it are the real ones, and so are Redis and the store.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import httpx
import psutil
import pytest

from core_config import Settings
from operations import commandline, leftovers, runstate
from tests.conftest import free_port
from tests.gateway.conftest import ending, start_gateway

from .doctor_runs import doctor

__all__ = ["doctor", "ending", "start_gateway"]

T = TypeVar("T")
# Bytecode is copied along, so that no process compiles anew; not what another process is just writing.
HALF_WRITTEN = shutil.ignore_patterns("*.pyc.*")
Manage = Callable[..., Awaitable[tuple[int, str, str]]]
Sleeper = Callable[..., "subprocess.Popen[bytes]"]

ROOT = Path(__file__).resolve().parents[2]
STAND_INS = Path(__file__).with_name("stand_ins")


def until(probe: Callable[[], T], what: str, seconds: float = 60) -> T:
    """The first true answer of `probe`; what raises an HTTP error or finds no process counts as not yet."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError, psutil.NoSuchProcess):
            if answer := probe():
                return answer
        time.sleep(0.03)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


class Copy:
    """One copy of Longhaul on disk, with its own port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.var = folder / "var"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            leftovers.VARIABLE: os.environ.get(leftovers.VARIABLE, ""),
            "LONGHAUL_NO_VENV": "1",
            "GATEWAY_PORT": str(self.port),
            "DRAIN_SECONDS": "5",
        }
        for name in ("operations", "taskstore", "agent", "longhaul_client", "monitoring"):
            self.add(name)
        for name in (
            "manage.py",
            "agents_config.py",
            "core_config.py",
            "requirements.lock",
            "pyproject.toml",
            "schema_rules.py",
        ):
            shutil.copy(ROOT / name, folder / name)
        shutil.copytree(STAND_INS, folder, dirs_exist_ok=True)
        shutil.copy(ROOT / "gateway" / "auth.py", folder / "gateway" / "auth.py")  # `start` reads the keys with it

    def add(self, name: str) -> None:
        """Puts a real package in its place."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        shutil.copytree(ROOT / name, self.folder / name, ignore=HALF_WRITTEN)

    def manage(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(self.folder / "manage.py"), *arguments],
            env={**self.environment, **more}, capture_output=True, text=True, timeout=300, check=False, cwd="/",
        )  # fmt: skip

    def start(self, **more: str) -> str:
        done = self.manage("start", **more)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def state(self) -> runstate.RunState:
        state = runstate.running(self.var)
        assert state is not None
        return state

    def pids(self) -> list[int]:
        state = runstate.read(self.var)
        return [] if state is None else [state.supervisor.pid, *(record.pid for record in state.processes)]

    def process(self, name: str) -> runstate.ProcessRecord:
        return next(record for record in self.state().processes if record.name == name and not record.retiring)

    def get(self, path: str) -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=10) as client:
            return client.get(self.url + path)

    def end(self) -> None:
        self.manage("stop", "--now")
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def sleeper() -> Iterator[Sleeper]:
    """Starts programs that do nothing, and ends them however the test goes."""
    started: list[subprocess.Popen[bytes]] = []

    def start(**environment: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-c", "import time; time.sleep(600)"]
        started.append(subprocess.Popen(command, env={**os.environ, **environment}, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Copy]:
    made = Copy(tmp_path / "longhaul")
    yield made
    made.end()


@pytest.fixture
def manage(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Manage:
    """A command in this process, in a thread of its own as it has its own event loop: code, output, errors."""
    monkeypatch.setenv("REDIS_URL", settings.redis_address)
    monkeypatch.setenv("KEY_PREFIX", settings.key_prefix)

    async def call(*arguments: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(commandline.run, arguments[0], arguments[1:])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture(scope="session")
def running_copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """A started one, shared by tests that leave it running as they found it."""
    made = Copy(tmp_path_factory.mktemp("shared") / "longhaul")
    made.start()
    yield made
    made.end()
