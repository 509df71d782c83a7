"""`python -m gateway` as an operator meets it: what it loads, what it refuses, how it ends."""

import http.client
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from core_config import ROOT, Settings
from gateway.__main__ import main
from taskstore.store import TaskStore
from tests.conftest import free_port

from .conftest import GatewayProcess, submitted

Run = Callable[..., GatewayProcess]


def call(port: int, path: str, body: Any = None, timeout: float = 20) -> Any:
    """The JSON answer; follows no proxy."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"content-type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=timeout) as answer:
        return json.load(answer)


def healthy(running: GatewayProcess, port: int) -> None:
    until = time.monotonic() + 60
    while True:
        assert running.process.poll() is None, running.said()
        assert time.monotonic() < until, running.said()
        try:
            assert call(port, "/health")["status"] == "healthy"
        except OSError:
            time.sleep(0.02)
        else:
            return


def test_it_serves_and_ends_as_asked(run_gateway: Run):
    port = free_port()
    closed = "http://127.0.0.1:9"  # loopback never goes through a proxy
    running = run_gateway(GATEWAY_PORT=str(port), HTTP_PROXY=closed, ALL_PROXY=closed, http_proxy=closed)
    healthy(running, port)
    task_id = call(port, "/task", {"message": "m"})["task_id"]
    assert call(port, f"/task/{task_id}")["status"] == "pending"
    running.terminate()
    assert running.ended() == 0, running.said()
    lines = running.said().splitlines()
    assert any(" INFO gateway[" in line and " listening address=" in line for line in lines)
    assert any(" gateway.app started model=Simulator simulated=True" in line for line in lines)
    assert not any("GET /" in line or "Traceback" in line for line in lines), "no line per request"


def test_an_interrupt_ends_it_too(run_gateway: Run):
    port = free_port()
    running = run_gateway(GATEWAY_PORT=str(port))
    healthy(running, port)
    running.process.send_signal(signal.SIGINT)
    assert running.ended() == 0
    assert "Traceback" not in running.said()


def test_it_serves_on_a_socket_that_its_parent_opened(run_gateway: Run):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # connections wait in the socket while the process starts: none is refused during a restart
        running = run_gateway("--fd", str(listener.fileno()), fds=(listener.fileno(),), GATEWAY_PORT="1")
        assert call(listener.getsockname()[1], "/health")["status"] == "healthy"
        running.terminate()
        assert running.ended() == 0


def test_a_client_on_a_kept_connection_is_told_to_leave_before_it_is_closed(run_gateway: Run):
    port = free_port()
    running = run_gateway(GATEWAY_PORT=str(port))
    healthy(running, port)
    kept, late = (http.client.HTTPConnection("127.0.0.1", port, timeout=20) for _ in range(2))
    late.connect()  # and has sent nothing yet when the gateway is told to end
    running.terminate()
    last = False
    while not last:
        kept.request("GET", "/health")
        with kept.getresponse() as answer:
            assert answer.status == 200
            answer.read()
            last = answer.headers["connection"] == "close"
    late.request("GET", "/health")
    with late.getresponse() as answer:
        assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert running.ended() == 0, running.said()
    kept.close()
    late.close()


class Refusals:
    """The same entry point in this process: an interpreter for each bad setting would take the tests a minute."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def of(self, *arguments: str, **environment: str) -> str:
        """What the gateway says when it refuses to start like this."""
        with self._monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            assert main(arguments) == 2
        said = self._capsys.readouterr().err
        lines = [line for line in said.splitlines() if line.startswith("gateway: ")]
        assert 1 <= len(lines) <= 4, said
        assert "Traceback" not in said
        return said


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Refusals]:
    root = logging.getLogger()
    handlers, level, on_term = root.handlers[:], root.level, signal.getsignal(signal.SIGTERM)
    for name in ("NO_PROXY", "no_proxy"):  # what the gateway adds to them goes with the patch
        monkeypatch.setenv(name, "")
    yield Refusals(monkeypatch, capsys)
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    signal.signal(signal.SIGTERM, on_term)


KEYED = {"API_KEYS": "a:" + "0" * 64, "ACTIVE_MODEL_KEY": "Simulator"}


@pytest.mark.parametrize(
    ("environment", "phrases"),
    [
        ({"GATEWAY_PORT": "eighty"}, ["GATEWAY_PORT='eighty'", "valid integer"]),
        ({"LEASE_SECONDS": "0", "MAX_RETRIES": "-1"}, ["LEASE_SECONDS='0'", "MAX_RETRIES='-1'"]),
        ({"GATEWAY_HOST": "0.0.0.0"}, ["GATEWAY_HOST=0.0.0.0", "Set API_KEYS", "manage.py keys new"]),
        ({"API_KEYS": "alice:plain-secret"}, ["API_KEYS, entry 1", "64 hex digits"]),
        ({"API_KEYS_FILE": "/nonexistent/keys"}, ["API_KEYS_FILE=/nonexistent/keys"]),
        ({"ACTIVE_MODEL_KEY": "GTP"}, ["ACTIVE_MODEL_KEY", "GTP"]),
        ({"AGENTS_FILE": "/nonexistent/agents.toml"}, ["AGENTS_FILE /nonexistent/agents.toml", "Correct the path"]),
        ({"ACTIVE_MODEL_KEY": "DeepSeek-V3"}, ["DEEPSEEK_API_KEY"]),
        ({"GATEWAY_HOST": "host.invalid", **KEYED}, ["GATEWAY_HOST=host.invalid", "cannot be listened on"]),
    ],
)
def test_a_setting_that_cannot_work_is_said(refusals: Refusals, environment: dict[str, str], phrases: list[str]):
    said = refusals.of(**environment)
    for phrase in phrases:
        assert phrase in said
    assert "plain-secret" not in said


def test_a_refusal_of_the_process_is_an_exit_code_and_a_line(run_gateway: Run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running = run_gateway(GATEWAY_PORT=str(port))
        assert running.ended() == 2
    (line,) = running.said().splitlines()
    assert line.startswith(f"gateway: GATEWAY_HOST=127.0.0.1 GATEWAY_PORT={port} cannot be listened on")
    assert "already in use" in line


def test_an_inherited_socket_is_no_way_around_the_keys(refusals: Refusals):
    with socket.create_server(("0.0.0.0", 0)) as listener:
        said = refusals.of("--fd", str(os.dup(listener.fileno())))
    assert "0.0.0.0" in said
    assert "API_KEYS" in said


def test_what_is_no_listening_socket_is_refused(refusals: Refusals, tmp_path: Path):
    with (tmp_path / "file").open("w") as file, socket.socket() as deaf:
        assert "is no socket" in refusals.of("--fd", str(file.fileno()))
        assert "does not listen" in refusals.of("--fd", str(os.dup(deaf.fileno())))
    assert "--fd 9999 is no socket" in refusals.of("--fd", "9999")


HEAVY = [
    "agent", "arq", "langchain", "langchain_core", "langchain_litellm", "langfuse", "litellm", "numpy", "openai",
    "opentelemetry.sdk",  # FastAPI itself loads the rest, where it is installed
]  # fmt: skip
LOOK = f"""
import json, sys
import gateway.app
from core_config import Settings
gateway.app.create_app(Settings(_env_file=None))
import psutil
print(json.dumps([
    [name for name in {HEAVY!r} if name in sys.modules],
    psutil.Process().memory_info().rss / 2**20,
    len(psutil.Process().net_connections()),
]))
"""


def test_it_loads_no_llm_library_and_stays_small():
    answer = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=ROOT, env={"PATH": os.environ["PATH"]}, capture_output=True, check=True
    )
    loaded, mebibytes, connections = json.loads(answer.stdout)
    assert loaded == []
    assert mebibytes < 120
    assert connections == 0, "create_app opens nothing"


async def test_a_planted_pickle_runs_nothing(
    client: httpx.AsyncClient, store: TaskStore, settings: Settings, tmp_path: Path
):
    """Whoever can write to Redis can plant one, in arq's keys or in ours: the gateway loads none."""
    task_id, trap = await submitted(client), tmp_path / "sprung"
    pickled = f"cos\nsystem\n(S'touch {trap}'\ntR.".encode()
    with redis.Redis.from_url(settings.redis_address) as server:
        for key in (f"arq:job:{task_id}", f"arq:result:{task_id}"):
            server.set(key, pickled, ex=60)
        server.hset(store.keys.task(task_id), "metadata", pickled)
    assert (await client.get(f"/task/{task_id}", params={"wait": 1})).status_code == 500
    assert (await client.post(f"/task/{task_id}/cancel")).status_code == 200
    assert not trap.exists()
