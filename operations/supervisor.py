"""The process that `manage.py start` leaves behind: it runs Redis, simulator, gateways and workers and keeps them up.

It holds the gateway's listening socket itself and hands it to every gateway, so that a gateway may crash or be replaced
and no connection is refused meanwhile. SIGTERM drains and stops everything; a second one stops without waiting.
`control.sock` takes `restart`. Run as `python -m operations.supervisor` by `operations/launch.py` only.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path

from core_config import SIMULATOR, Settings, keep_loopback_off_proxies
from monitoring.logs import log_what_ends_it, setup_logging
from operations import (
    configuration,
    kept,
    logfiles,
    plan,
    ports,
    redis_check,
    rescue,
    rolling,
    runstate,
    targets,
)
from operations.control import ControlServer
from operations.errors import CommandError
from operations.fleet import Fleet
from operations.reloading import Reloader

log = logging.getLogger(__name__)

ALREADY_RUNNING = 75  # exit code: another supervisor has this VAR_DIR

_LOCK_SECONDS = 5.0


class Supervisor:
    def __init__(self, settings: Settings, token: str, *, reload: bool = False) -> None:
        """`reload`: workers follow the agents' code."""
        self.settings = settings
        self.var_dir: Path = settings.var_dir
        self._counts = settings.var_dir / "metrics"
        self.token = token
        self.phase: runstate.Phase = "starting"
        self.failure = ""
        self.redis_url = settings.redis_url or ""
        self.redis_source = configuration.redis_source(settings)
        self.model = ""
        self.simulator_port: int | None = None
        self.listener: socket.socket | None = None
        self.metrics_listener: socket.socket | None = None
        self.fleet = Fleet(self.var_dir, self.write_state, self._worker_died)
        self._me = runstate.of_process("supervisor", "supervisor", os.getpid())
        self.one_at_a_time = asyncio.Lock()
        """Held by whoever replaces processes."""
        self._reloader = Reloader(self) if reload else None
        self._stop_asked = asyncio.Event()
        self._chores: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Until SIGTERM. Returns 0, or 1 when it could not start (then `run.json` says why)."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ask_stop)
        signal.signal(signal.SIGHUP, lambda *_: None)  # nothing to read again: that is what `restart` is for
        self.write_state()
        try:
            async with ControlServer(self.var_dir, self.roll, self.one_at_a_time):
                await self._until_stop(self._start())
                if not self._stop_asked.is_set():
                    self.phase = "running"
                    self.write_state()
                    if self._reloader is not None:
                        await self._until_stop(self._reloader.run())
                    await self._stop_asked.wait()
        except CommandError as error:
            self.failure = str(error)
            log.error("cannot start: %s", error)  # noqa: TRY400 an expected fault: the sentence says all
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}"
            log.exception("the supervisor failed; stopping everything")
        await self._stop()
        return 1 if self.failure else 0

    async def roll(self, environment: dict[str, str]) -> AsyncIterator[str]:
        """Replaces every process but Redis by one with the settings of `environment`; yields what it does."""
        if self.phase != "running":
            raise CommandError(f"it is {self.phase}; try again when manage.py status says that it is ready.")
        async for line in rolling.roll(self, environment):
            log.info("restart: %s", line)
            yield line

    def environment(self) -> dict[str, str]:
        """What a process of ours gets: the operator's environment and where its neighbours are."""
        environment = {**os.environ, "REDIS_URL": self.redis_url, "PYTHONUNBUFFERED": "1"}
        if self.simulator_port is not None:
            environment |= {"SIMULATOR_HOST": "127.0.0.1", "SIMULATOR_PORT": str(self.simulator_port)}
        return environment

    def choose_model(self, settings: Settings) -> None:
        """Sets `model` and, when the Simulator may be wanted, its port."""
        self.model = configuration.active_model(settings)
        if settings.redis_url is None or self.model == SIMULATOR:
            # At a restart the port is in use, by the simulator that is to be replaced: the workers know it there.
            self.simulator_port = settings.simulator_port or self.simulator_port or kept.port(self.var_dir, "simulator")
        else:
            self.simulator_port = None

    def services(self) -> list[plan.ProcessSpec]:
        assert self.listener is not None  # noqa: S101 bound before anything is started
        page = None if self.metrics_listener is None else self.metrics_listener.fileno()
        return plan.services(
            self.settings, self.environment(), self.listener.fileno(), self.simulator_port, self._counts, page
        )

    def write_state(self) -> None:
        state = runstate.RunState(
            token=self.token,
            supervisor=self._me,
            phase=self.phase,
            failure=self.failure,
            gateway_url=configuration.gateway_url(self.settings),
            redis_url=redis_check.without_password(self.redis_url),
            redis_source=self.redis_source,
            simulator_port=self.simulator_port,
            workers_metrics_url=targets.url(self.metrics_listener),
            model=self.model,
            reload=self._reloader is not None,
            reload_failure="" if self._reloader is None else self._reloader.failure,
            stop_seconds=plan.stop_seconds(self.settings),
            processes=self.fleet.records(),
        )
        try:
            runstate.write(self.var_dir, state)
        except OSError as error:
            log.warning("cannot write run.json: %s", error)

    def tell_prometheus(self) -> None:
        try:
            targets.write(self.var_dir, configuration.gateway_url(self.settings), targets.url(self.metrics_listener))
        except OSError as error:
            log.warning("cannot write the targets for Prometheus: %s", error)

    async def _start(self) -> None:
        self.listener = ports.listen(self.settings.gateway_host, self.settings.gateway_port)
        self.metrics_listener = targets.listen(self.settings)
        shutil.rmtree(self._counts, ignore_errors=True)  # of processes that are gone, after a power cut
        self.tell_prometheus()
        self.choose_model(self.settings)
        if self.redis_source is None:
            await self._start_redis()
        for spec in self.services():
            await self.fleet.start(spec)

    async def _start_redis(self) -> None:
        port = kept.port(self.var_dir, "redis")
        self.redis_url = f"redis://127.0.0.1:{port}/0"
        directory = self.var_dir / "redis"
        directory.mkdir(mode=0o700, exist_ok=True)
        spec = plan.redis(self.settings, kept.redis_server(self.var_dir), port, dict(os.environ))
        child = await self.fleet.start(spec)
        deadline = time.monotonic() + redis_check.LOADING_SECONDS
        problem = "it does not answer"
        while child.restarts < 3 and time.monotonic() < deadline:
            try:
                facts = await asyncio.to_thread(redis_check.probe, self.redis_url)
            except CommandError as error:
                problem = str(error)
            else:
                if facts and child.record and facts.process_id == child.record.pid:
                    log.info("redis %s answers at %s (%s)", facts.version, self.redis_url, facts.durability)
                    return
                problem = "another Redis took its port" if facts else "it is still loading its data"
            await asyncio.sleep(0.05 if child.restarts == 0 else 0.3)
        raise CommandError(f"the private Redis does not start: {problem}. {logfiles.ending(self.var_dir, 'redis')}")

    async def _stop(self) -> None:
        self.phase = "stopping"
        self.write_state()
        log.info("stopping")
        if self.listener is not None:
            self.listener.close()  # new connections are refused at once and not left waiting in its queue
        targets.remove(self.var_dir)
        await self.fleet.stop_all()
        shutil.rmtree(self._counts, ignore_errors=True)
        if self.metrics_listener is not None:
            self.metrics_listener.close()
        for chore in self._chores:
            chore.cancel()
        if self.failure:
            self.phase = "failed"
            self.write_state()
        else:
            runstate.forget(self.var_dir)
        log.info("stopped")

    async def _until_stop(self, work: Coroutine[None, None, None]) -> None:
        """Does `work` unless a stop is asked for first."""
        task = asyncio.create_task(work)
        asked = asyncio.create_task(self._stop_asked.wait())
        await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not task.done():
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    def _ask_stop(self) -> None:
        if self._stop_asked.is_set():
            self.fleet.hurry.set()
        self._stop_asked.set()

    def _worker_died(self, worker_id: str) -> None:
        chore = asyncio.create_task(rescue.rescue(self.settings, self.redis_url, worker_id))
        self._chores.add(chore)
        chore.add_done_callback(self._chores.discard)


def _alone(var_dir: Path) -> bool:
    """Takes the lock on VAR_DIR for the rest of this process's life; the kernel gives it back however that ends."""
    descriptor = os.open(var_dir, os.O_RDONLY)
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline or runstate.running(var_dir):
                return False
            time.sleep(0.05)
        else:
            return True


def main(kind: type[Supervisor] = Supervisor) -> int:
    settings = configuration.load()
    os.chdir(settings.var_dir)  # so that the control socket's path is short, however long VAR_DIR is
    if not _alone(settings.var_dir):
        return ALREADY_RUNNING
    setup_logging(settings, "supervisor", handler=logfiles.LogFile(settings.var_dir, "supervisor"))
    keep_loopback_off_proxies()
    old = runstate.read(settings.var_dir)
    if old:
        left = runstate.end_leftovers(old)
        if left:
            log.warning("ended what a killed supervisor had left running: %s", ", ".join(left))
    runstate.forget(settings.var_dir)
    supervisor = kind(settings, os.environ[runstate.TOKEN_VARIABLE], reload="--reload" in sys.argv[1:])
    return asyncio.run(supervisor.run())


if __name__ == "__main__":
    log_what_ends_it()
    sys.exit(main())
