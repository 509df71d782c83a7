"""What a Prometheus on this machine needs: the socket of the workers' metrics page, and files that say where both pages
are.

`VAR_DIR/prometheus/gateway.json` and `workers.json` are there while Longhaul runs, in the form of `file_sd_configs`.
"""

import json
import socket
from pathlib import Path
from urllib.parse import urlsplit

from core_config import Settings
from operations import ports
from operations.errors import CommandError

_PORTS_TO_TRY = 100
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 compared, not bound


def listen(settings: Settings) -> socket.socket | None:
    """The socket that all workers accept from; None when WORKER_METRICS_PORT is 0. When that is not set and its default
    is taken, as by another copy, it is the next free port. CommandError as of `ports.listen`.
    """
    host, port = settings.worker_metrics_host, settings.worker_metrics_port
    if port == 0:
        return None
    last = port if "worker_metrics_port" in settings.model_fields_set else port + _PORTS_TO_TRY
    while True:
        try:
            return ports.listen(host, port, "WORKER_METRICS")
        except CommandError:
            if port >= last:
                raise
            port += 1


def wanted(settings: Settings) -> tuple[str, int, bool]:
    """What `listen` goes by: the same, and an open socket is the right one."""
    explicit = "worker_metrics_port" in settings.model_fields_set
    return settings.worker_metrics_host, settings.worker_metrics_port, explicit


def url(listener: socket.socket | None) -> str:
    """Where this machine reads the workers' page; empty when there is none."""
    if listener is None:
        return ""
    host, port = listener.getsockname()[:2]
    host = _ANY.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics"


def write(var_dir: Path, gateway_url: str, workers_url: str) -> None:
    """Each file in one step: Prometheus reads them at any time. Raises OSError."""
    folder = var_dir / "prometheus"
    folder.mkdir(exist_ok=True)
    for name, address in (("gateway", gateway_url), ("workers", workers_url)):
        found = [{"targets": [urlsplit(address).netloc], "labels": {}}] if address else []
        partial = folder / f"{name}.json.partial"
        partial.write_text(json.dumps(found) + "\n")
        partial.replace(folder / f"{name}.json")


def remove(var_dir: Path) -> None:
    """Leaves the folder: a Prometheus that runs on watches it."""
    for name in ("gateway", "workers"):
        (var_dir / "prometheus" / f"{name}.json").unlink(missing_ok=True)
