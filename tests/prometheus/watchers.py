"""Real Prometheus and Alertmanager with the shipped files, in which only addresses and waits are others."""

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from longhaul_testing.ports import free_port
from tests.prometheus import shipped

PATIENCE_S = 120
"""Of everything that is waited for: a bound for machines that are loaded, no expectation."""


class Webhook(ThreadingHTTPServer):
    """Keeps what Alertmanager posts, by path."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        super().__init__(("127.0.0.1", free_port()), _Listener)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def alerts(self, path: str, name: str, status: str) -> list[dict[str, Any]]:
        return [
            alert
            for heard, notification in list(self.heard)
            for alert in notification["alerts"]
            if heard == path and alert["labels"]["alertname"] == name and alert["status"] == status
        ]

    def last(self, path: str, name: str) -> str | None:
        """What was heard last of an alert: firing or resolved."""
        said = [
            alert["status"]
            for heard, notification in list(self.heard)
            for alert in notification["alerts"]
            if heard == path and alert["labels"]["alertname"] == name
        ]
        return said[-1] if said else None


class _Listener(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard.append((self.path, json.loads(body)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


class Prometheus:
    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, trust_env=False, timeout=30)

    def query(self, expression: str) -> list[dict[str, Any]]:
        answer = self._http.get("/api/v1/query", params={"query": expression})
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]["result"]

    def value(self, expression: str) -> float | None:
        """Of an expression that has one series at most."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None

    def rules(self) -> list[dict[str, Any]]:
        groups = self._http.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def close(self) -> None:
        self._http.close()


def until(holds: Callable[[], Any], what: str) -> Any:
    """What `holds` answers, as soon as that is something."""
    end = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        assert time.monotonic() < end, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.1)
    return found


@contextlib.contextmanager
def running(name: str, folder: Path, *arguments: str) -> Iterator[None]:
    said = folder / f"{name}.log"
    with said.open("wb") as log:
        process = subprocess.Popen([shipped.program(name), *arguments], cwd=folder, stdout=log, stderr=log)
    try:
        yield
    finally:
        ended = process.poll()
        process.terminate()
        process.wait(PATIENCE_S)
        assert ended is None, f"{name} ended by itself: {said.read_text()[-3000:]}"


@contextlib.contextmanager
def alertmanager(folder: Path, webhook: Webhook) -> Iterator[str]:
    """Its host:port. Sends to `webhook` at /page and /ticket."""
    content = shipped.read(shipped.ALERTMANAGER / "alertmanager.yml")
    content["templates"] = [str(shipped.ALERTMANAGER / "templates" / "*.tmpl")]
    for route in (content["route"], *content["route"]["routes"]):
        route |= {"group_wait": "1s", "group_interval": "1s"}
    content["receivers"] = [
        {"name": name, "webhook_configs": [{"url": f"http://127.0.0.1:{webhook.server_port}/{name}"}]}
        for name in ("page", "ticket")
    ]
    shipped.write(folder / "alertmanager.yml", content)
    address = f"127.0.0.1:{free_port()}"
    arguments = ("--config.file=alertmanager.yml", "--storage.path=alertmanager", "--cluster.listen-address=")
    with running("prometheus-alertmanager", folder, *arguments, f"--web.listen-address={address}"):
        _until_ready(address)
        yield address


@contextlib.contextmanager
def prometheus(folder: Path, targets: Path, alertmanager_address: str) -> Iterator[Prometheus]:
    """Reads its targets from `targets`, as manage.py writes them. No alert waits for its `for`."""
    address = f"127.0.0.1:{free_port()}"
    content = shipped.read(shipped.PROMETHEUS / "prometheus.yml")
    content["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s", "scrape_timeout": "1s"}
    content["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager_address]
    for job in content["scrape_configs"]:
        for found in job.get("file_sd_configs", []):
            found["files"] = [str(targets / Path(path).name) for path in found["files"]]
        if job["job_name"] in {"prometheus", "alertmanager"}:
            own = address if job["job_name"] == "prometheus" else alertmanager_address
            job["static_configs"] = [{"targets": [own]}]
    content["scrape_configs"] = [job for job in content["scrape_configs"] if job["job_name"] not in {"redis", "node"}]
    shipped.write(folder / "prometheus.yml", content)
    (folder / "rules").mkdir()
    for path in shipped.rule_files():
        rules = shipped.read(path)
        for group in rules["groups"]:
            group.pop("interval", None)
            for rule in group["rules"]:
                rule.pop("for", None)
        shipped.write(folder / "rules" / path.name, rules)
    arguments = ("--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}")
    with running("prometheus", folder, *arguments):
        _until_ready(address)
        client = Prometheus(f"http://{address}")
        yield client
        client.close()


def _until_ready(address: str) -> None:
    def ready() -> bool:
        try:
            return httpx.get(f"http://{address}/-/ready", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    until(ready, f"{address} is ready")
