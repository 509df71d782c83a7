"""The three fixed metrics, their labels, and counts over several processes."""

import contextlib
import re
import socket
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from .conftest import GatewayProcess, StartGateway, submitted


async def counts(client: httpx.AsyncClient) -> dict[tuple[str, ...], float]:
    page = await client.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    return counts_in(page.text)


def counts_in(page: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name.startswith("agent_") and not sample.name.endswith(("_bucket", "_sum"))
    }


async def test_requests_are_counted_by_template_and_status(client: httpx.AsyncClient):
    before = await counts(client)
    task_id = await submitted(client)
    await client.post("/task", json={"message": ""})
    await client.get(f"/task/{task_id}")
    await client.get("/task/0123")
    await client.delete(f"/task/{task_id}")
    await client.get("/secret-path-1")
    await client.post("/secret-path-2/x")
    await client.get("/models", headers={"host": "evil.example"})
    after = await counts(client)
    grown = {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}
    assert grown == {
        ("agent_requests_total", "/task", "200"): 1,
        ("agent_requests_total", "/task", "422"): 1,
        ("agent_requests_total", "/task/{task_id}", "200"): 1,
        ("agent_requests_total", "/task/{task_id}", "404"): 1,
        ("agent_requests_total", "/task/{task_id}", "405"): 1,
        ("agent_requests_total", "unmatched", "404"): 2,
        ("agent_requests_total", "/models", "403"): 1,
        ("agent_requests_total", "/metrics", "200"): 1,
        ("agent_request_duration_seconds_count", "/task"): 2,
        ("agent_request_duration_seconds_count", "/task/{task_id}"): 3,
        ("agent_request_duration_seconds_count", "unmatched"): 2,
        ("agent_request_duration_seconds_count", "/models"): 1,
        ("agent_request_duration_seconds_count", "/metrics"): 1,
        ("agent_tasks_enqueued_total",): 1,
    }


async def test_a_repeated_submit_enqueues_once(client: httpx.AsyncClient):
    before = (await counts(client))["agent_tasks_enqueued_total",]
    for _ in range(3):
        await client.post("/task", json={"message": "m"}, headers={"idempotency-key": "k"})
    assert (await counts(client))["agent_tasks_enqueued_total",] == before + 1


async def test_counts_of_one_of_several_processes_say_so(start_gateway: StartGateway):
    async with start_gateway(gateway_processes=2).client() as client:
        page = (await client.get("/metrics")).text
    assert page.startswith("# one of 2 processes only: set PROMETHEUS_MULTIPROC_DIR")
    assert counts_in(page)


def test_processes_that_share_a_directory_share_their_counts(
    run_gateway: Callable[..., GatewayProcess], tmp_path: Path
):
    folder = tmp_path / "metrics"
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd, port = listener.fileno(), listener.getsockname()[1]
        processes = [
            run_gateway("--fd", str(fd), fds=(fd,), PROMETHEUS_MULTIPROC_DIR=str(folder), GATEWAY_PROCESSES="2")
            for _ in range(2)
        ]

        def get(path: str) -> str:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                f"http://127.0.0.1:{port}{path}", timeout=10
            ) as answer:
                return str(answer.read().decode())

        def served() -> set[int]:
            """The processes that have counted a request so far: each writes a file of its own."""
            return {
                int(pid)
                for file in folder.glob("counter_*.db")
                for pid in re.findall(r"counter_(\d+)\.db", file.name)
                if b"/health" in file.read_bytes()
            }

        until, asked, answered = time.monotonic() + 60, 0, 0
        while served() != {one.process.pid for one in processes}:
            assert time.monotonic() < until, [one.said() for one in processes]
            asked += 1
            with contextlib.suppress(OSError):
                get("/health")
                answered += 1
        # one that was given up on a busy machine may have been served all the same
        assert answered <= counts_in(get("/metrics"))["agent_requests_total", "/health", "200"] <= asked


async def test_the_fixed_names_are_there_from_the_start(client: httpx.AsyncClient):
    page = (await client.get("/metrics")).text
    for name in ("agent_requests_total", "agent_request_duration_seconds", "agent_tasks_enqueued_total"):
        assert f"# HELP {name} " in page
