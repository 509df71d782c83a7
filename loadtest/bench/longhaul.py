"""Longhaul as shipped: `manage.py start` with default settings, API keys on, on the run's Redis."""

import asyncio
import contextlib
import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from loadtest.bench.stage import BenchError, Program, Stage, free_port, kept_environment

START_SECONDS: Final = 120
_STOP_SECONDS: Final = 40


@dataclass(frozen=True)
class System:
    """One that runs. `key` is an API key of a caller who is no admin, `environment` what its processes were given."""

    url: str
    key: str
    environment: Mapping[str, str]
    processes: Mapping[str, int]
    """`worker-1`, `gateway-1`, `simulator` and so on -> process id."""
    started_in_s: float
    """From the call of `manage.py start` to its end."""

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def pid(self, name: str) -> int:
        return self.processes[name]


def environment_of(stage: Stage, key: str, settings: Mapping[str, str]) -> dict[str, str]:
    """What makes the system private, and `settings` over it: all else is Longhaul's default."""
    return {
        **kept_environment(),
        "LONGHAUL_NO_VENV": "1",
        "REDIS_URL": stage.redis_url,
        "VAR_DIR": str(stage.folder / "var"),
        "GATEWAY_PORT": str(free_port()),
        "WORKER_METRICS_PORT": str(free_port()),
        "API_KEYS": f"bench:{hashlib.sha256(key.encode()).hexdigest()}",
        "ACTIVE_MODEL_KEY": "Simulator",
        **settings,
    }


async def start(stage: Stage, settings: Mapping[str, str] | None = None) -> System:
    """Started and ready; it is stopped with the visit. Raises BenchError with what `manage.py start` said."""
    key = f"ak_{secrets.token_hex(4)}_{secrets.token_urlsafe(32)}"
    environment = environment_of(stage, key, settings or {})
    began = time.perf_counter()
    starting = await _manage(stage, environment, "start", "--wait", str(START_SECONDS))
    stage.stack.push_async_callback(_stop, stage, environment)
    await starting.process.wait()
    took = time.perf_counter() - began
    if starting.process.returncode:
        raise BenchError(f"manage.py start: {starting.last_lines()}")
    processes = {one["name"]: int(one["pid"]) for one in (await _status(stage, environment))["processes"]}
    url = f"http://127.0.0.1:{environment['GATEWAY_PORT']}"
    return System(url, key, environment, processes, took)


async def _manage(stage: Stage, environment: Mapping[str, str], *arguments: str, stdout: bool = False) -> Program:
    command: list[str | Path] = [stage.means.python, stage.means.longhaul / "manage.py", *arguments]
    return await stage.start(f"manage-{arguments[0]}", command, environment=environment, stdout=stdout)


async def _status(stage: Stage, environment: Mapping[str, str]) -> dict[str, Any]:
    asking = await _manage(stage, environment, "status", "--json", stdout=True)
    said, _ = await asking.process.communicate()
    try:
        status: dict[str, Any] = json.loads(said)
    except ValueError:
        raise BenchError(f"manage.py status: {said[-500:]!r} {asking.last_lines()}") from None
    return status


async def _stop(stage: Stage, environment: Mapping[str, str]) -> None:
    """Ends it without a drain, and kills what does not end."""
    running = _processes(Path(environment["VAR_DIR"]))
    stopping = await asyncio.create_subprocess_exec(
        stage.means.python, stage.means.longhaul / "manage.py", "stop", "--now",
        cwd=stage.means.longhaul, env=environment, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await stopping.wait()
    finally:
        for process in running:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if stopping.returncode is None:
            stopping.kill()
            await stopping.wait()


def _processes(var_dir: Path) -> list[psutil.Process]:
    """The supervisor first, so that it starts nobody anew."""
    try:
        state = json.loads((var_dir / "run.json").read_text())
    except (OSError, ValueError):
        return []
    pids = [one["pid"] for one in (state["supervisor"], *state["processes"])]
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(pid))
    return found
