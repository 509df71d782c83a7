"""What a running system counts, with two gateways and two workers, is what its client counted, whoever of them dies."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.system.conftest import System


def samples(url: str) -> dict[tuple[str, ...], float]:
    """By name and label values, in the order of the labels' names; without buckets. One connection, then closed."""
    with httpx.Client(trust_env=False, timeout=30) as client:
        page = client.get(url).raise_for_status().text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }


def until(holds: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 120
    while not (found := holds()):
        assert time.monotonic() < deadline, f"it did not happen: {what}"
        time.sleep(0.05)
    return found


class Counted:
    """A client that counts what it sends and gets. Each call on a connection of its own: any gateway may have it."""

    def __init__(self, system: System) -> None:
        self._system = system
        self.requests: Counter[tuple[str, ...]] = Counter()
        self.calls: Counter[tuple[str, str]] = Counter()

    def call(self, method: str, path: str, endpoint: str, kind: str, **options: Any) -> httpx.Response:
        headers = {"Connection": "close"}
        answer = self._system.http.request(method, path, headers=headers, **options)
        self.requests[endpoint, kind, str(answer.status_code)] += 1
        return answer

    def run(self, message: str) -> None:
        task_id = self.call("POST", "/task", "/task", "submit", json={"message": message}).json()["task_id"]
        view: dict[str, Any] = {"status": "pending"}
        while view["status"] not in {"success", "failed"}:
            view = self.call("GET", f"/task/{task_id}?wait=20", "/task/{task_id}", "wait").json()
        for step in view["steps"]:
            self.calls[step["kind"], step["name"]] += 1


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Two gateways and two workers, at an uncommon place: a path with spaces and letters beyond ASCII."""
    folder = tmp_path_factory.mktemp("four")
    system = System(folder, VAR_DIR=str(folder / "wo anders ü"), GATEWAY_PROCESSES="2", WORKER_PROCESSES="2")
    try:
        yield system.start()
    finally:
        system.end()


def test_counts_are_exactly_the_client_s_also_after_kills(four: System):
    system = four
    pages = system.status()["metrics"]
    client = Counted(system)

    def some() -> None:
        for number in range(6):
            client.run(f"Compute {number} * 7")
        client.call("GET", "/task/none", "/task/{task_id}", "poll")
        client.call("POST", "/task", "/task", "submit", json={})
        client.call("GET", "/nowhere", "unmatched", "other")

    def agrees() -> bool:
        """An answer is counted a moment after its last byte, and an attempt after its outcome can be read."""
        gateways, workers = samples(pages["gateway"]), samples(pages["workers"])
        requests = {name[1:]: count for name, count in gateways.items() if name[0] == "agent_requests_total"}
        mine = {name: count for name, count in requests.items() if name[1] in {"submit", "wait", "poll", "other"}}
        tasks = sum(count for name, count in client.requests.items() if name[1:] == ("submit", "200"))
        return (
            mine == dict(client.requests)
            and gateways["agent_tasks_enqueued_total",] == tasks
            and workers["agent_task_run_seconds_count", "default", "Simulator", "success"] == tasks
            and workers["agent_model_calls_total", "", "Simulator"] == client.calls["model", "Simulator"]
            and workers["agent_tool_calls_total", "ok", "calculator"] == client.calls["tool", "calculator"]
        )

    some()
    until(agrees, "the counts agree")
    assert client.calls["tool", "calculator"] == 6
    assert samples(pages["workers"])["agent_worker_slots", "free"] == 100
    counts = {role: Path(system.status()["var_dir"]) / "metrics" / role for role in ("gateway", "worker")}

    for role in ("worker", "gateway"):
        old = system.pid(f"{role}-1")
        other = system.pid(f"{role}-2")
        os.kill(old, signal.SIGKILL)
        page = pages["workers" if role == "worker" else "gateway"]
        until(partial(forgotten, page, counts[role], old), f"the {role} is forgotten")
        assert psutil.pid_exists(other)
        some()
        until(agrees, f"the counts agree after the death of a {role}")
    until(lambda: system.status()["ready"], "both are back")
    until(
        lambda: samples(pages["workers"])["agent_worker_slots", "free"] == 100, "its successor's slots, and not its own"
    )


def test_everything_at_an_uncommon_place(four: System):
    """A page has what all gateways have counted, whichever answers."""
    status = four.status()
    assert {"gateway-1", "gateway-2", "worker-1", "worker-2"} <= {process["name"] for process in status["processes"]}
    enqueued = ("agent_tasks_enqueued_total",)
    before = samples(status["metrics"]["gateway"])[enqueued]
    assert four.ask("Compute 1 + 1")["status"] == "success"
    for _ in range(20):
        four.submit("Compute 1 + 1")
    pages = [samples(status["metrics"]["gateway"])[enqueued] for _ in range(10)]
    assert pages == [before + 21] * 10
    place = Path(four.environment["VAR_DIR"])
    assert (place / "logs").is_dir()
    assert not (four.folder / "var").exists()


def forgotten(page: str, counts: Path, pid: int) -> bool:
    """After a read of the page by whoever is left, or the dead one's successor. A read that the dead one had begun to
    answer fails.
    """
    try:
        samples(page)
    except httpx.TransportError:
        return False
    return not any(str(pid) in file.name for file in counts.iterdir())
