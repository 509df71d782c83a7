"""A real Prometheus on a free port, and questions to it as Grafana asks them."""

import json
import math
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import free_port

PATIENCE_S = 60
"""Of everything that is waited for: a bound for machines that are loaded, no expectation."""


class Prometheus:
    def __init__(self, program: str, folder: Path, jobs: Mapping[str, Sequence[str] | Path], every: str) -> None:
        """`jobs` are addresses to scrape, or the targets file that has them, by job name."""
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log = folder / "prometheus.log"
        config = {
            "global": {"scrape_interval": every, "scrape_timeout": every},
            "scrape_configs": [
                {"job_name": job, "file_sd_configs": [{"files": [str(where)], "refresh_interval": "1s"}]}
                if isinstance(where, Path)
                else {"job_name": job, "static_configs": [{"targets": list(where)}]}
                for job, where in jobs.items()
            ],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML too
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                ],
                stdout=log,
                stderr=log,
                cwd=folder,
            )
        self._http = httpx.Client(base_url=self.url, trust_env=False, timeout=30)
        self._wait_ready()

    def _wait_ready(self) -> None:
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                if self._http.get("/-/ready").status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            if self._process.poll() is not None or time.monotonic() > until:
                self.end()
                raise AssertionError(f"Prometheus did not start: {self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    def end(self) -> None:
        self._http.close()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def now(self, expression: str) -> dict[str, float]:
        """The values of now that are numbers, by their labels as text."""
        found = self._ask("query", query=expression)
        return {_name(one): float(one["value"][1]) for one in found if _is_number(one["value"][1])}

    def drawn(self, expression: str, since: float, step_s: float = 1) -> dict[str, list[float]]:
        """The numbers of each series from `since` (a time of time.time) until now; series without any are left out."""
        asked = {"query": expression, "start": since, "end": time.time(), "step": step_s}
        lines = {
            _name(one): [float(v) for _, v in one["values"] if _is_number(v)]
            for one in self._ask("query_range", **asked)
        }
        return {name: values for name, values in lines.items() if values}

    def until(self, expression: str) -> dict[str, float]:
        """Its values, as soon as it has any. A comparison such as `x == 3` has none while it does not hold."""
        until = time.monotonic() + PATIENCE_S
        while True:
            if found := self.now(expression):
                return found
            assert time.monotonic() < until, f"{expression}: never"
            time.sleep(0.1)

    def _ask(self, path: str, **parameters: Any) -> list[dict[str, Any]]:
        answer = self._http.post(f"/api/v1/{path}", data=parameters).json()
        assert answer["status"] == "success", answer
        data: dict[str, Any] = answer["data"]
        if data["resultType"] == "scalar":
            return [{"metric": {}, "value": data["result"]}]
        result: list[dict[str, Any]] = data["result"]
        return result


def _name(one: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(one["metric"].items()))


def _is_number(text: str) -> bool:
    return math.isfinite(float(text))
