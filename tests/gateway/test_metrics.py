"""What a gateway counts: its labels, its kinds, and counts over several processes."""

import asyncio
import contextlib
import platform
import re
import socket
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import httpx
from fastapi.routing import APIRoute
from prometheus_client.parser import text_string_to_metric_families

from core_config import VERSION
from gateway.kinds import KINDS
from taskstore.store import TaskStore
from tests.conftest import free_port

from .conftest import GatewayProcess, RunningGateway, StartGateway, TinyWorker, submitted


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


OF_REQUESTS = ("agent_request", "agent_problems", "agent_tasks_enqueued")


async def grown(client: httpx.AsyncClient, before: dict[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
    """By how much what is counted of requests has grown; without the reading of the page before."""
    after = await counts(client)
    found = {name: value - before.get(name, 0) for name, value in after.items() if name[0].startswith(OF_REQUESTS)}
    return {name: more for name, more in found.items() if more and "/metrics" not in name}


async def test_requests_are_counted_by_template_kind_and_status(client: httpx.AsyncClient):
    before = await counts(client)
    task_id = await submitted(client)
    await client.post("/task", json={"message": ""})
    await client.get(f"/task/{task_id}")
    await client.get(f"/task/{task_id}", params={"wait": 0.01})
    await client.get("/task/0123")
    await client.delete(f"/task/{task_id}")
    await client.post(f"/task/{task_id}/cancel")
    await client.get("/health")
    await client.get("/secret-path-1")
    await client.post("/secret-path-2/x")
    await client.get("/models", headers={"host": "evil.example"})
    assert await grown(client, before) == {
        ("agent_requests_total", "/task", "submit", "200"): 1,
        ("agent_requests_total", "/task", "submit", "422"): 1,
        ("agent_requests_total", "/task/{task_id}", "poll", "200"): 1,
        ("agent_requests_total", "/task/{task_id}", "wait", "200"): 1,
        ("agent_requests_total", "/task/{task_id}", "poll", "404"): 1,
        ("agent_requests_total", "/task/{task_id}", "other", "405"): 1,
        ("agent_requests_total", "/task/{task_id}/cancel", "act", "200"): 1,
        ("agent_requests_total", "/health", "probe", "200"): 1,
        ("agent_requests_total", "unmatched", "other", "404"): 2,
        ("agent_requests_total", "/models", "other", "403"): 1,
        ("agent_request_duration_seconds_count", "/task", "submit", "Simulator"): 1,
        ("agent_request_duration_seconds_count", "/task", "submit", ""): 1,
        ("agent_request_duration_seconds_count", "/task/{task_id}", "poll", ""): 2,
        ("agent_request_duration_seconds_count", "/task/{task_id}", "wait", ""): 1,
        ("agent_request_duration_seconds_count", "/task/{task_id}", "other", ""): 1,
        ("agent_request_duration_seconds_count", "/task/{task_id}/cancel", "act", ""): 1,
        ("agent_request_duration_seconds_count", "/health", "probe", ""): 1,
        ("agent_request_duration_seconds_count", "unmatched", "other", ""): 2,
        ("agent_request_duration_seconds_count", "/models", "other", ""): 1,
        ("agent_problems_total", "invalid_request", "/task"): 1,
        ("agent_problems_total", "task_not_found", "/task/{task_id}"): 1,
        ("agent_problems_total", "method_not_allowed", "/task/{task_id}"): 1,
        ("agent_problems_total", "not_found", "unmatched"): 2,
        ("agent_problems_total", "forbidden_host", "/models"): 1,
        ("agent_tasks_enqueued_total",): 1,
    }


async def test_probes_are_told_from_what_people_wait_for(client: httpx.AsyncClient):
    probes = ("/health", "/healthz", "/ready", "/readiness")
    before = await counts(client)
    for path in (*probes, "/models"):
        await client.get(path)
    found = {name[1:3] for name in await grown(client, before) if name[0] == "agent_requests_total"}
    assert found == {*((path, "probe") for path in probes), ("/models", "other")}


async def test_a_client_that_leaves_before_its_answer_is_counted_as_that(client: httpx.AsyncClient):
    before = await counts(client)
    _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    writer.write(b"POST /task HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n")
    writer.write(b"content-length: 100\r\n\r\n{")  # and no more
    await writer.drain()
    writer.close()
    async with asyncio.timeout(60):
        while not (found := await grown(client, before)):
            await asyncio.sleep(0.02)
    assert found["agent_requests_total", "/task", "submit", "499"] == 1


async def test_a_problem_counts_wherever_it_is_made(start_gateway: StartGateway, worker: TinyWorker):
    """Before the router, while the body is read, in the route, after the wait; a chat with the model of its task."""
    gateway = start_gateway(max_body_bytes=1024, chat_timeout_seconds=0.05)
    async with gateway.client() as client:
        before = await counts(client)
        assert (await client.post("/task", json={"message": "x" * 2000})).status_code == 413
        assert (await client.post("/chat", json={"message": "m"})).status_code == 504
        assert (await client.post("/chat", json={"message": "m", "model": "none"})).status_code == 422
        assert await grown(client, before) == {
            ("agent_requests_total", "/task", "submit", "413"): 1,
            ("agent_requests_total", "/chat", "chat", "504"): 1,
            ("agent_requests_total", "/chat", "chat", "422"): 1,
            ("agent_request_duration_seconds_count", "/task", "submit", ""): 1,
            ("agent_request_duration_seconds_count", "/chat", "chat", "Simulator"): 1,
            ("agent_request_duration_seconds_count", "/chat", "chat", ""): 1,
            ("agent_problems_total", "body_too_large", "/task"): 1,
            ("agent_problems_total", "chat_timeout", "/chat"): 1,
            ("agent_problems_total", "unknown_model", "/chat"): 1,
            ("agent_tasks_enqueued_total",): 1,
        }


async def test_an_open_stream_shows_and_a_closed_one_does_not(client: httpx.AsyncClient, worker: TinyWorker):
    task_id = await submitted(client)

    async def streams() -> float:
        return (await counts(client))["agent_event_streams",]

    before = await streams()
    async with client.stream("GET", f"/task/{task_id}/events") as stream:
        lines = stream.aiter_lines()
        await anext(lines)
        assert await streams() == before + 1
        await worker.end("success", result="x")
        async for _ in lines:
            pass
    async with asyncio.timeout(30):
        while await streams() != before:
            await asyncio.sleep(0.01)


def test_every_route_has_a_kind(gateway: RunningGateway):
    routes = {
        (method, route.path_format)
        for route in gateway.app.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    assert routes <= KINDS.keys()


async def test_a_process_says_what_it_is_and_how_it_does(client: httpx.AsyncClient, store: TaskStore):
    await submitted(client)
    page = (await client.get("/metrics")).text
    found = {
        sample.name: sample
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.labels.get("role", "gateway") == "gateway" and sample.labels.get("verb", "submit") == "submit"
    }
    assert found["agent_build_info"].labels == {"version": VERSION, "python": platform.python_version()}
    assert found["agent_process_memory_bytes"].value > 1_000_000
    assert found["agent_process_cpu_seconds_total"].value > 0
    assert found["agent_event_loop_lag_seconds"].value >= 0
    assert found["agent_redis_call_seconds_count"].value >= 1
    assert found["agent_redis_errors_total"].value >= 0
    assert "agent_worker_slots" not in page


async def test_a_redis_that_is_away_is_counted(start_gateway: StartGateway):
    async with start_gateway(redis_url=f"redis://127.0.0.1:{free_port()}/0").client() as client:
        before = (await counts(client)).get(("agent_redis_errors_total", "submit"), 0)
        assert (await client.post("/task", json={"message": "m"})).status_code == 503
        assert (await counts(client))["agent_redis_errors_total", "submit"] == before + 1


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

        until, asked, answered = time.monotonic() + 180, 0, 0
        while served() != {one.process.pid for one in processes}:
            assert time.monotonic() < until, [one.said() for one in processes]
            asked += 1
            with contextlib.suppress(OSError):
                get("/health")
                answered += 1
        # one that was given up on a busy machine may have been served all the same
        assert answered <= counts_in(get("/metrics"))["agent_requests_total", "/health", "probe", "200"] <= asked


async def test_the_fixed_names_are_there_from_the_start(client: httpx.AsyncClient):
    page = (await client.get("/metrics")).text
    for name in ("agent_requests_total", "agent_request_duration_seconds", "agent_tasks_enqueued_total"):
        assert f"# HELP {name} " in page
