"""`manage.py load`: what it refuses to load, and what it says of a system that refuses or fails. Real gateways."""

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from operations import commandline
from taskstore.store import TaskStore
from tests.conftest import free_port
from tests.gateway.conftest import StartGateway, TinyWorker, ending, start_gateway

__all__ = ["ending", "start_gateway"]

KEY = "ak_load_1"
Load = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Load:
    """Runs the command in a thread: exit code, and all that it and Locust said."""
    monkeypatch.setenv("VAR_DIR", str(tmp_path / "var"))

    def run(words: tuple[str, ...]) -> int:
        try:
            return commandline.run("load", words)
        except SystemExit as usage:
            return int(usage.code or 0)

    async def call(*words: str) -> tuple[int, str]:
        code = await asyncio.to_thread(run, words)
        said = capfd.readouterr()
        return code, said.out + said.err

    return call


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--host", "http://203.0.113.7:8000"), "--i-may-load-this-host"),
        (("--host", "127.0.0.1:8000"), "is no address such as"),
        (("--only", "pol"), "did you mean 'poll'"),
        (("--only", "chat", "--weight-chat", "0"), "every weight is 0"),
        (("--users", "0"), "an integer of 1 or more"),
        (("--run-time", "soon"), "expected a time such as"),
    ],
)
async def test_wrong_usage_loads_nothing(load: Load, words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    code, told = await load(*words)
    assert code == 2
    assert said in told
    assert not (tmp_path / "var").exists()


async def test_where_nothing_runs_it_says_how_to_start(load: Load) -> None:
    code, told = await load("--host", f"http://127.0.0.1:{free_port()}")
    assert code == 4
    assert "python3 manage.py start" in told


async def test_a_model_that_is_paid_for_wants_a_word(
    load: Load, start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-0123456789abcdef0123456789abcdef")
    gateway = start_gateway(active_model_key="DeepSeek-V3")
    code, told = await load("--host", gateway.url)
    assert code == 2
    assert "DeepSeek-V3 is a real model" in told
    assert "--i-pay-for-the-model" in told
    code, told = await load("--host", gateway.url, "--model", "Simulater")
    assert (code, "did you mean 'Simulator'" in told) == (2, True)


async def test_refused_submits_are_failures_by_their_code(
    load: Load, start_gateway: StartGateway, tmp_path: Path
) -> None:
    """Without a worker the queue stays full. The key is asked for, and reaches Locust."""
    gateway = start_gateway(
        queue_max_depth=1,
        active_model_key="Simulator",
        api_keys=f"load:{hashlib.sha256(KEY.encode()).hexdigest()}",
    )
    code, told = await load("--host", gateway.url)
    assert (code, "wants an API key" in told) == (4, True)
    async with gateway.client() as client:
        filled = await client.post("/task", json={"message": "first"}, headers={"Authorization": f"Bearer {KEY}"})
        assert filled.status_code == 200, filled.text
    key = tmp_path / "key"
    key.write_text(KEY)
    words = ("--users", "2", "--run-time", "3s", "--only", "wait", "--pause", "0.2", "--task-timeout", "1")
    code, told = await load("--host", gateway.url, "--key", f"@{key}", *words)
    assert code == 1, told
    assert "429 queue_full" in told
    assert KEY not in told
    assert "Report: " in told
    assert (next((tmp_path / "var" / "load").iterdir()) / "report.html").stat().st_size > 10_000


async def test_failed_tasks_are_failures_by_their_code(
    load: Load, start_gateway: StartGateway, store: TaskStore
) -> None:
    gateway = start_gateway(active_model_key="Simulator")
    stopped = asyncio.Event()

    async def fail_everything() -> None:
        worker = TinyWorker(store)
        while not stopped.is_set():
            with contextlib.suppress(ValueError):  # none was there to take
                await worker.end("bury", error="It broke.", error_code="model_unavailable")
            await asyncio.sleep(0.02)

    failing = asyncio.create_task(fail_everything())
    try:
        words = (
            "--users", "2", "--spawn-rate", "2", "--run-time", "5s", "--only", "poll,events", "--weight-poll", "1",
            "--poll-every", "0.2", "--pause", "0.2",
        )  # fmt: skip
        code, told = await load("--host", gateway.url, *words)
    finally:
        stopped.set()
        await failing
    assert code == 1, told
    lines = told.splitlines()
    for way in ("poll", "events"):
        failed = [line for line in lines if f"submit to final ({way})" in line and "task failed: model_unavail" in line]
        assert len(failed) == 1, told
