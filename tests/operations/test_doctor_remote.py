"""`manage.py doctor --url`: a real gateway over HTTP, with a worker, without one, with keys, and interrupted."""

import asyncio
import contextlib
import hashlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import redis.exceptions

from core_config import ROOT
from taskstore.records import WorkerInfo
from taskstore.store import TaskStore
from tests.conftest import free_port
from tests.gateway.conftest import StartGateway, TinyWorker

from .doctor_runs import Doctor, Told

KEY = "ak_alice_1"
API_KEYS = {"api_keys": f"alice:{hashlib.sha256(KEY.encode()).hexdigest()}", "active_model_key": "Simulator"}
CHECKS = ["remote-health", "remote-ready", "remote-submit", "remote-task", "remote-metrics"]

Remote = Callable[..., "asyncio.Future[Told]"]


@pytest.fixture
def remote(doctor: Doctor) -> Remote:
    """In a thread: the worker of the test runs in this one."""

    def run(*arguments: str, **environment: str) -> "asyncio.Future[Told]":
        return asyncio.ensure_future(asyncio.to_thread(doctor, *arguments, **environment))

    return run


@pytest.fixture
async def a_worker(store: TaskStore) -> AsyncIterator[None]:
    """Answers every task."""

    stopped = asyncio.Event()

    async def work() -> None:
        worker = TinyWorker(store)
        while not stopped.is_set():
            await store.renew(WorkerInfo("w1", "host", 1, "1", 1, 0), [])
            with contextlib.suppress(ValueError):  # none was there to take
                await worker.end("success", result="ready")
            await asyncio.sleep(0.02)

    await store.renew(WorkerInfo("w1", "host", 1, "1", 1, 0), [])
    working = asyncio.create_task(work())
    yield
    stopped.set()
    await working


async def statuses(store: TaskStore) -> list[str]:
    """Of every task there is."""
    keys = [key async for key in store.redis.scan_iter(store.keys.task("*"))]
    return [str(await store.redis.hget(key, "status")) for key in keys]  # type: ignore[misc]  # redis-py's types


async def until_submitted(store: TaskStore) -> None:
    async with asyncio.timeout(120):
        while True:
            with contextlib.suppress(redis.exceptions.TimeoutError):  # a machine that stands still for seconds
                if await statuses(store) == ["pending"]:
                    return
            await asyncio.sleep(0.02)


@pytest.mark.usefixtures("a_worker")
async def test_a_system_that_works_runs_one_task_to_its_end(
    remote: Remote, start_gateway: StartGateway, store: TaskStore
) -> None:
    told = await remote("--url", start_gateway().url)
    assert [finding["check"] for finding in told.findings] == CHECKS
    assert told.amiss() == []
    assert told.code == 0
    assert all(finding["took_ms"] > 0 for finding in told.findings)
    assert "one model call" in told.text
    assert "Simulator" in told.one("remote-task", "ok")["says"]
    assert await statuses(store) == ["success"]


@pytest.mark.usefixtures("a_worker")
async def test_the_key_comes_from_where_nobody_sees_it_and_is_shown_to_nobody(
    remote: Remote, start_gateway: StartGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = start_gateway(**API_KEYS).url
    (tmp_path / "key").write_text(f"{KEY}\n")
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{KEY}\n"))
    ways = [("--key", f"@{tmp_path / 'key'}"), ("--key", "-"), ("--key", KEY)]
    answers = [await remote("--url", url, *way) for way in ways]
    answers.append(await remote("--url", url, LONGHAUL_API_KEY=KEY))
    for told in answers:
        assert (told.code, told.amiss()) == (0, []), told.text
        assert KEY not in told.text


async def test_a_wrong_key_is_told_and_no_task_is_made(
    remote: Remote, start_gateway: StartGateway, store: TaskStore
) -> None:
    told = await remote("--url", start_gateway(**API_KEYS).url, "--key", "ak_mallory_of_nobody")
    found = told.one("remote-submit", "failure")
    assert "takes no such key" in found["says"]
    assert "LONGHAUL_API_KEY" in found["remedy"]
    assert not told.of("remote-task")
    assert told.of("remote-metrics")
    assert told.code == 1
    assert "mallory" not in told.text
    assert await statuses(store) == []


async def test_without_a_worker_it_says_so_and_leaves_no_task_behind(
    remote: Remote, start_gateway: StartGateway, store: TaskStore
) -> None:
    told = await remote("--url", start_gateway().url, "--wait", "0.5")
    assert "No worker is alive" in told.one("remote-ready", "failure")["says"]
    assert "still pending after 0.5 s, and was cancelled" in told.one("remote-task", "failure")["says"]
    assert told.code == 1
    assert await statuses(store) == ["cancelled"]


async def test_a_task_that_fails_is_told_with_its_code(
    remote: Remote, start_gateway: StartGateway, store: TaskStore
) -> None:
    asked = remote("--url", start_gateway().url)
    await until_submitted(store)
    await TinyWorker(store).end("fail", error_code="provider_auth", error="The model's provider refused the API key")
    told = await asked
    assert "(provider_auth)" in told.one("remote-task", "failure")["says"]
    assert "docs/error-codes.md" in told.one("remote-task", "failure")["remedy"]


async def test_a_full_queue_is_told(remote: Remote, start_gateway: StartGateway, store: TaskStore) -> None:
    await store.renew(WorkerInfo("w1", "host", 1, "1", 1, 0), [])
    gateway = start_gateway(queue_max_depth=1)
    async with gateway.client() as client:
        assert (await client.post("/task", json={"message": "m"})).status_code == 200
    told = await remote("--url", gateway.url)
    assert "queue: Full" in told.one("remote-ready", "warning")["says"]
    assert "429" in told.one("remote-submit", "failure")["says"]


async def test_nobody_there_or_somebody_else(remote: Remote) -> None:
    told = await remote("--url", f"http://127.0.0.1:{free_port()}")
    assert [(one["check"], one["level"]) for one in told.findings] == [("remote-health", "failure")]
    assert "nothing answers" in told.one("remote-health", "failure")["says"]


async def test_an_interrupt_cancels_the_task(start_gateway: StartGateway, store: TaskStore) -> None:
    process = subprocess.Popen(
        [sys.executable, "manage.py", "doctor", "--url", start_gateway().url],
        cwd=ROOT, env={"PATH": os.environ["PATH"], "LONGHAUL_NO_VENV": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        await until_submitted(store)
        process.send_signal(signal.SIGINT)
        said, complained = await asyncio.to_thread(process.communicate, timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "interrupted" in complained
    assert "Traceback" not in complained
    assert "remote-task" not in said
    assert await statuses(store) == ["cancelled"]
