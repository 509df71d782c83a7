"""One running system with two gateways and two workers, watched by a real Prometheus and Alertmanager."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from longhaul_testing.ports import free_port
from tests.prometheus import shipped, watchers
from tests.prometheus.watchers import until
from tests.simulator import server as simulator
from tests.system.conftest import System

CALLERS = ("ops", "alice")
SLOTS = 10
# All answered by the simulator: a name of its own for each night, and one with a price
MODELS = ("Sluggish", "Dead-Key", "Stormy", "Dear")


class Watched(System):
    """As `ops`, an admin. `alice` is another caller."""

    def __init__(self, folder: Path, refusing_url: str) -> None:
        """`refusing_url`: a provider that takes no key."""
        port = free_port()
        self.models = folder / "models.toml"
        served: dict[str, object] = {
            "litellm_id": "openai/simulator",
            "base_url": f"http://127.0.0.1:{port}/v1",
            "cooldown": False,
        }
        more: dict[str, dict[str, object]] = {
            "Dear": {"price_in": 1.0, "price_out": 1.0},
            "Dead-Key": {"base_url": refusing_url, "api_key_env": "KEY_OF_NOBODY"},
        }
        tables = {name: served | more.get(name, {}) for name in MODELS}
        self.models.write_text(
            "".join(
                f"[{name}]\n" + "".join(f"{field} = {json.dumps(value)}\n" for field, value in table.items())
                for name, table in tables.items()
            ),
            encoding="utf-8",
        )
        keys = {name: f"key-of-{name}" for name in CALLERS}
        entries = [f"{name}:{hashlib.sha256(key.encode()).hexdigest()}" for name, key in keys.items()]
        copy = folder / "copy"
        copy.mkdir()
        super().__init__(
            copy,
            GATEWAY_PROCESSES="2",
            WORKER_PROCESSES="2",
            WORKER_CONCURRENCY=str(SLOTS),
            WORKER_METRICS_PORT=str(free_port()),
            SIMULATOR_PORT=str(port),
            MODELS_FILE=str(self.models),
            KEY_OF_NOBODY="of-somebody-who-left",
            ACTIVE_MODEL_KEY="Simulator",
            API_KEYS=f"{entries[0]}:admin,{entries[1]}",
        )
        self.http.headers["Authorization"] = f"Bearer {keys['ops']}"
        self.alice = httpx.Client(
            base_url=self.url, trust_env=False, timeout=60, headers={"Authorization": f"Bearer {keys['alice']}"}
        )

    def submit_as_alice(self, message: str, **fields: object) -> str:
        answer = self.alice.post("/task", json={"message": message, **fields})
        assert answer.status_code == 200, answer.text
        return answer.json()["task_id"]

    def end(self) -> None:
        self.alice.close()
        super().end()


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    for name in ("prometheus", "prometheus-alertmanager"):
        shipped.program(name)  # skip before a system is started for it
    with simulator.running() as refusing:
        refusing.http.put(f"{refusing.root}/control", json={"rules": [{"do": "error=openai_invalid_key"}]})
        system = Watched(tmp_path_factory.mktemp("watched"), refusing.url)
        try:
            system.start()
            yield system
        finally:
            system.end()


@pytest.fixture(scope="session")
def webhook() -> Iterator[watchers.Webhook]:
    with watchers.Webhook() as server:
        yield server
        server.shutdown()


@pytest.fixture(scope="session")
def prometheus(
    watched: Watched, webhook: watchers.Webhook, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[watchers.Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    targets = watched.folder / "var" / "prometheus"
    with (
        watchers.alertmanager(folder, webhook) as address,
        watchers.prometheus(folder, targets, address) as prometheus,
    ):
        until(lambda: prometheus.value('sum(up{job=~"gateway|worker"})') == 2, "both pages are read")
        yield prometheus
