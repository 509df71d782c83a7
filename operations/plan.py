"""Which processes a deployment consists of, and how each is called."""

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from core_config import Settings
from monitoring.sharing import MULTIPROC_DIR
from operations import embedded_redis

Role = Literal["redis", "simulator", "gateway", "worker"]

# In the order of starting; stopping goes the other way, except that the gateway, which takes work in, ends first.
STOP_ORDER: tuple[Role, ...] = ("gateway", "worker", "simulator", "redis")

_REDIS_SECONDS = 30.0
_GRACE_SECONDS = 5.0  # beyond the drain, for what comes after it


@dataclass(frozen=True)
class ProcessSpec:
    """One process to keep running. `stop_seconds` lie between SIGTERM and SIGKILL."""

    name: str
    role: Role
    command: tuple[str, ...]
    environment: dict[str, str] = field(repr=False)
    stop_seconds: float
    inherits: tuple[int, ...] = ()


def redis(settings: Settings, server: Path, port: int, environment: dict[str, str]) -> ProcessSpec:
    command = (str(server), *embedded_redis.server_arguments(port, settings.var_dir / "redis"))
    return ProcessSpec("redis", "redis", command, environment, _REDIS_SECONDS)


def services(
    settings: Settings,
    environment: dict[str, str],
    listener: int,
    simulator_port: int | None,
    counts: Path,
    metrics_listener: int | None,
) -> list[ProcessSpec]:
    """Everything but Redis. `listener` is the descriptor of the gateway's listening socket, `metrics_listener` that of
    the workers' metrics page, and `counts` where gateways and workers, each role for itself, add up what they count.
    """
    drain = settings.drain_seconds + _GRACE_SECONDS
    python = (sys.executable, "-m")
    specs = []
    if simulator_port is not None:
        options = shlex.split(settings.simulator_options or "")
        command = (*python, "loadtest.simulator", *options, "--port", str(simulator_port))
        specs.append(ProcessSpec("simulator", "simulator", command, environment, _GRACE_SECONDS))
    gateway = (*python, "gateway", "--fd", str(listener))
    counting = {**environment, MULTIPROC_DIR: str(counts / "gateway")}
    specs += [
        ProcessSpec(f"gateway-{slot}", "gateway", gateway, counting, drain, (listener,))
        for slot in range(1, settings.gateway_processes + 1)
    ]
    page = () if metrics_listener is None else (metrics_listener,)
    worker = (*python, "worker", *(argument for fd in page for argument in ("--metrics-fd", str(fd))))
    counting = {**environment, MULTIPROC_DIR: str(counts / "worker")}
    specs += [
        ProcessSpec(f"worker-{slot}", "worker", worker, counting, drain, page)
        for slot in range(1, settings.worker_processes + 1)
    ]
    return specs


def stop_seconds(settings: Settings) -> float:
    """The longest that stopping everything may take: each role in turn, all processes of a role at once."""
    return 2 * (settings.drain_seconds + _GRACE_SECONDS) + _GRACE_SECONDS + _REDIS_SECONDS
