"""A system under load with a Prometheus that scrapes it: two gateway processes, two workers, the simulated model.

`manage.py start` writes the targets files that are scraped. The exporters are Debian's, where they are installed.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import free_port
from tests.system.conftest import System

from . import debian
from .load import MODELS_FILE
from .prometheus_server import Prometheus


@dataclass(frozen=True, slots=True)
class Observed:
    system: System
    prometheus: Prometheus
    since: float
    """When scraping began: a time of time.time()."""
    exporters: frozenset[str]
    """Whose metrics there are: redis, node."""


@contextmanager
def observed(folder: Path, redis_url: str, every: str = "1s") -> Iterator[Observed]:
    """Skips where there is no Prometheus, save in CI."""
    program = debian.program("prometheus", "prometheus")
    with ExitStack() as ending:
        system = ending.enter_context(_system(folder, redis_url))
        targets = system.folder / "var" / "prometheus"
        jobs: dict[str, Path | list[str]] = {"gateway": targets / "gateway.json", "worker": targets / "workers.json"}
        exporters = {"redis": (f"--redis.addr={redis_url}",), "node": ()}
        for name, arguments in exporters.items():
            if binary := debian.found(f"prometheus-{name}-exporter", f"prometheus-{name}-exporter"):
                address = f"127.0.0.1:{free_port()}"
                ending.enter_context(_running(binary, f"--web.listen-address={address}", *arguments))
                jobs[name] = [address]
        prometheus = Prometheus(program, folder, jobs, every)
        ending.callback(prometheus.end)
        prometheus.until(f"count(up == 1) == {len(jobs)}")
        yield Observed(system, prometheus, time.time(), frozenset(exporters.keys() & jobs.keys()))


@contextmanager
def _system(folder: Path, redis_url: str) -> Iterator[System]:
    port = free_port()
    (folder / "models.toml").write_text(MODELS_FILE.format(port=port))
    (folder / "copy").mkdir()
    system = System(
        folder / "copy",
        REDIS_URL=redis_url,
        KEY_PREFIX="observed:",
        SIMULATOR_PORT=str(port),
        ACTIVE_MODEL_KEY="Simulator",
        MODELS_FILE=str(folder / "models.toml"),
        GATEWAY_PROCESSES="2",
        WORKER_PROCESSES="2",
        WORKER_CONCURRENCY="8",
        WORKER_METRICS_PORT=str(free_port()),
        MAX_RETRIES="1",
        AGENT_MAX_ITERATIONS="3",
        DRAIN_SECONDS="1",
    )
    try:
        yield system.start()
    finally:
        system.end()


@contextmanager
def _running(*command: str) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)
