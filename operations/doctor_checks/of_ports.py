"""The ports that this copy is to listen on: free, or held by itself."""

from collections.abc import Iterator

import httpx

from core_config import SIMULATOR, Settings
from operations import configuration, ports
from operations.doctor_checks.finding import Check, Finding, failure, ok
from operations.doctor_checks.situation import Situation
from operations.errors import CommandError

ANSWER_SECONDS = 2.0
SIGN_CHARACTERS = 100_000
"""How far into an answer the sign of one of ours is looked for."""


def find(situation: Situation) -> Iterator[Finding]:
    settings, state = situation.settings, situation.state
    if state is not None and state.gateway_url == configuration.gateway_url(settings):
        yield ok(Check.PORTS, f"GATEWAY_PORT {settings.gateway_port} is this copy's own")
    elif situation.orphans:
        yield ok(Check.PORTS, f"GATEWAY_PORT {settings.gateway_port} may be held by what `processes` tells of")
    else:
        yield _gateway(settings)
    if settings.simulator_port is not None and (settings.redis_url is None or settings.active_model_key == SIMULATOR):
        yield _other("SIMULATOR_PORT", settings.simulator_port, "/health", '"simulated"')
    # unless it was asked for, a start takes the next one that is free
    if settings.worker_metrics_port and "worker_metrics_port" in settings.model_fields_set:
        yield _other("WORKER_METRICS_PORT", settings.worker_metrics_port, "/metrics", "agent_")


def _gateway(settings: Settings) -> Finding:
    if "healthy" in _says(f"{configuration.gateway_url(settings)}/health"):
        return ok(Check.PORTS, f"GATEWAY_PORT {settings.gateway_port} is held by a gateway that was started by hand")
    try:
        ports.listen(settings.gateway_host, settings.gateway_port).close()
    except CommandError as error:
        says, _, remedy = str(error).partition(". ")
        return failure(Check.PORTS, says, remedy or "Choose another GATEWAY_PORT or GATEWAY_HOST.")
    return ok(Check.PORTS, f"GATEWAY_PORT {settings.gateway_port} is free")


def _other(name: str, port: int, path: str, sign: str) -> Finding:
    """`sign` stands in what ours answers there."""
    if not ports.answers(port):
        return ok(Check.PORTS, f"{name} {port} is free")
    if sign in _says(f"http://127.0.0.1:{port}{path}"):
        return ok(Check.PORTS, f"{name} {port} is held by ours")
    return failure(
        Check.PORTS,
        f"{name} {port} is taken{ports.holder(port)}",
        f"Stop that program, or set {name} to another (such as {ports.free_port()}).",
    )


def _says(url: str) -> str:
    """The beginning of what it answers; empty when that is no HTTP."""
    try:
        with httpx.Client(trust_env=False, timeout=ANSWER_SECONDS) as client:
            return client.get(url).text[:SIGN_CHARACTERS]
    except httpx.HTTPError:
        return ""
