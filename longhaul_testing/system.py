"""A running system: a private Redis, a gateway and a worker, with settings of the test's and the tests' simulator."""

import os
import secrets
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from core_config import ROOT, SIMULATOR, Settings
from longhaul_testing.errors import NotStartedError
from longhaul_testing.ports import free_port
from longhaul_testing.process import command
from longhaul_testing.simulated_model import Simulator
from longhaul_testing.supervisor import SIMULATOR_VARIABLE
from operations import logfiles, runstate

KEPT: Final = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH")
"""Of the environment; all else would be a developer's own settings and keys."""

_DEFAULTS: Final = {"ACTIVE_MODEL_KEY": SIMULATOR, "LEASE_SECONDS": "2", "DRAIN_SECONDS": "1"}
_QUICK_DEATHS: Final = 2  # of one process before the system is ready: it will not come up
_LOG_LINES: Final = 20
_STOP_SECONDS: Final = 15.0


class System:
    """Started once and shared by many tests; `start` and `stop` are the fixtures'."""

    def __init__(self, folder: Path, simulator: Simulator, settings: Mapping[str, object]) -> None:
        """`settings` are variables of docs and `.env`, and any other that the agents' own code reads."""
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {
            **{name: os.environ[name] for name in KEPT if name in os.environ},
            **_DEFAULTS,
            **{name: str(value) for name, value in settings.items()},
            "GATEWAY_PORT": str(self.port),
            "VAR_DIR": str(folder),
            SIMULATOR_VARIABLE: str(simulator.port),
            runstate.TOKEN_VARIABLE: secrets.token_hex(8),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, within_s: float = 180) -> None:
        """Returns when tasks will run. Raises NotStartedError, with what the processes said last."""
        logfiles.directory(self.folder).mkdir(parents=True)
        with (logfiles.directory(self.folder) / "supervisor.log").open("ab") as log:
            self._process = subprocess.Popen(
                command("longhaul_testing.supervisor"),
                cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        try:
            self._wait_ready(time.monotonic() + within_s)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends every process, without waiting for tasks that run. Stopping twice is harmless."""
        if self._process is None:
            return
        process, self._process = self._process, None
        for _ in range(2):  # the second one skips the drain
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if left := runstate.read(self.folder):
            runstate.end_leftovers(left)

    def pid(self, name: str) -> int:
        """The process id of `worker-1`, `gateway-1` or `redis`: to kill it, and see what happens to a task."""
        state = runstate.running(self.folder)
        running = {record.name: record.pid for record in state.processes} if state else {}
        if name not in running:
            raise LookupError(f"no process is called {name!r}; there are {', '.join(running) or 'none'}")
        return running[name]

    def logs(self) -> str:
        """The last lines of every process."""
        parts = []
        for path in sorted(logfiles.directory(self.folder).glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()[-_LOG_LINES:]
            parts += [f"{path.stem} | {line}" for line in lines]
        return "\n".join(parts)

    def _wait_ready(self, until: float) -> None:
        answer = "no answer"
        with httpx.Client(base_url=self.url, trust_env=False, timeout=5) as client:
            while time.monotonic() < until:
                with suppress(httpx.TransportError):
                    response = client.get("/ready")
                    if response.status_code == httpx.codes.OK:
                        return
                    answer = response.text
                self._give_up_on_the_dead()
                time.sleep(0.05)
        raise NotStartedError(f"the system was not ready in time: {answer}\n{self.logs()}")

    def _give_up_on_the_dead(self) -> None:
        state = runstate.read(self.folder)
        if self._process is None or self._process.poll() is not None:
            reason = state.failure if state else ""
            raise NotStartedError(f"the system did not start. {reason}\n{self.logs()}")
        for record in state.processes if state else ():
            if record.restarts >= _QUICK_DEATHS:
                raise NotStartedError(f"{record.name} does not stay up ({record.ended}).\n{self.logs()}")


def settings_of(given: Mapping[str, object]) -> Settings:
    """Settings of these variables alone: nothing of the environment, no `.env`. Raises ValidationError."""
    set_ones = {name: str(value) for name, value in {**_DEFAULTS, **given}.items() if str(value)}
    fields = {name.lower(): value for name, value in set_ones.items()}
    return _GivenSettings.model_validate({**set_ones, **fields})  # an alias is the variable's own name


class _GivenSettings(Settings):
    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 pydantic's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)
