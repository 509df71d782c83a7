"""A restart without a gap: every process but Redis is replaced, one at a time, by one with the settings of now.

A gateway's or worker's successor starts first and has to last; only then does the old one drain and end. If a
successor dies, the restart ends there and the processes that run go on running.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Collection
from typing import TYPE_CHECKING

from core_config import Settings, keep_loopback_off_proxies
from operations import configuration, logfiles, ports, rescue, runstate, targets
from operations.child import Child
from operations.errors import CommandError
from operations.plan import ProcessSpec, Role

if TYPE_CHECKING:
    from operations.supervisor import Supervisor

# How long a successor may take to come up. A gateway cannot be asked, since it shares its socket with the old one: it
# gets the time that it takes to start, and an end of the old one too early would only make callers wait a moment.
_SECONDS = {"worker": 60.0, "simulator": 20.0, "gateway": 3.0}


async def roll(supervisor: "Supervisor", environment: dict[str, str]) -> AsyncIterator[str]:
    """Yields a line for each thing done. CommandError: what stopped it; what still ran runs on."""
    before = _Before(supervisor)
    settings = _adopt(supervisor, environment)
    try:
        moved = (settings.gateway_host, settings.gateway_port) != before.address
        if moved:
            supervisor.listener = ports.listen(settings.gateway_host, settings.gateway_port)
        if targets.wanted(settings) != targets.wanted(before.settings):
            supervisor.metrics_listener = targets.listen(settings)
        supervisor.settings = settings
        supervisor.choose_model(settings)
        old: dict[str, Child] = {}
        for child in supervisor.fleet.children:
            if not child.retiring:  # a restart that was broken off may have left two simulators
                old[child.spec.name if child.spec.name not in old else f"another {child.spec.name}"] = child
        for spec in supervisor.services():
            predecessor = old.pop(spec.name, None)
            if predecessor and spec.role == "simulator" and predecessor.spec.command != spec.command:
                old["the old simulator"] = predecessor  # the old workers know it at its old port
                predecessor = None
            yield await _replace(supervisor, predecessor, spec)
            before.is_over = before.is_over or spec.role == "gateway"
    except BaseException:
        before.restore()
        raise
    finally:
        supervisor.write_state()
        supervisor.tell_prometheus()
    for name, child in old.items():
        if child.spec.role != "redis":
            await supervisor.fleet.stop(child)
            yield f"{name}: stopped"
    if moved and before.listener is not None:
        before.listener.close()
    if before.metrics_listener not in {None, supervisor.metrics_listener}:
        before.metrics_listener.close()


async def renew(supervisor: "Supervisor", roles: Collection[Role]) -> AsyncIterator[str]:
    """Replaces the processes of these roles by ones with the code of now; the settings stay those that run.

    Yields a line for each. CommandError: what stopped it; what still ran runs on.
    """
    configuration.check_agents(supervisor.settings)
    # workers first: one says which agents it has before a gateway offers them
    for spec in sorted(supervisor.services(), key=lambda spec: spec.role != "worker"):
        if spec.role in roles:
            running = (child for child in supervisor.fleet.children if child.spec.name == spec.name)
            yield await _replace(supervisor, next((child for child in running if not child.retiring), None), spec)


class _Before:
    """What the supervisor goes back to when a restart ends before a gateway was replaced."""

    def __init__(self, supervisor: "Supervisor") -> None:
        self._supervisor = supervisor
        self._environment = dict(os.environ)
        self.settings = supervisor.settings
        self._chosen = (supervisor.model, supervisor.simulator_port)
        self.listener, self.metrics_listener = supervisor.listener, supervisor.metrics_listener
        self.address = (supervisor.settings.gateway_host, supervisor.settings.gateway_port)
        self.is_over = False

    def restore(self) -> None:
        if self.is_over:
            return
        listener = self._supervisor.listener
        if listener is not None and listener is not self.listener:
            listener.close()
        page = self._supervisor.metrics_listener
        if page is not None and page is not self.metrics_listener:
            page.close()
        self._supervisor.settings, self._supervisor.listener = self.settings, self.listener
        self._supervisor.metrics_listener = self.metrics_listener
        self._supervisor.model, self._supervisor.simulator_port = self._chosen
        _set_environment(self._environment)


def _adopt(supervisor: "Supervisor", environment: dict[str, str]) -> Settings:
    """The settings of `environment` and `.env`, which become this process's own. Nothing changes when they are bad."""
    before = dict(os.environ)
    _set_environment({**environment, runstate.TOKEN_VARIABLE: supervisor.token})
    keep_loopback_off_proxies()
    try:
        settings = configuration.load()
        configuration.check(settings)
        if configuration.redis_source(settings) != supervisor.redis_source:
            raise CommandError("another Redis is wanted (REDIS_URL), and that takes a stop and a start.")
        if settings.var_dir != supervisor.var_dir:
            raise CommandError(f"VAR_DIR is {settings.var_dir} now; stop the copy in {supervisor.var_dir} first.")
    except BaseException:
        _set_environment(before)
        raise
    return settings


def _set_environment(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


async def _replace(supervisor: "Supervisor", old: Child | None, spec: ProcessSpec) -> str:
    if old and spec.role == "simulator":
        await supervisor.fleet.stop(old)  # two cannot have one port
    new = await supervisor.fleet.start(spec)
    if not await _lasts(supervisor, new):
        how = new.ended or "it gives no sign of life"
        await supervisor.fleet.stop(new)
        raise CommandError(
            f"the new {spec.name} does not come up ({how}). {logfiles.ending(supervisor.var_dir, spec.name)}"
        )
    if old is None:
        return f"{spec.name}: started"
    if old.is_alive:
        await supervisor.fleet.stop(old)
    return f"{spec.name}: replaced"


async def _lasts(supervisor: "Supervisor", child: Child) -> bool:
    """Whether a new process comes up: a worker is heard of, the simulator's port answers, a gateway stays alive."""
    role = child.spec.role
    deadline = time.monotonic() + _SECONDS[role]
    while time.monotonic() < deadline:
        if child.restarts or not child.is_alive:
            return False
        if role == "worker" and await rescue.is_at_work(supervisor.settings, supervisor.redis_url, child.identity):
            return True
        if role == "simulator" and supervisor.simulator_port and ports.answers(supervisor.simulator_port):
            return True
        await asyncio.sleep(0.1)
    return role == "gateway"
