"""Event streams through a real nginx with the shipped configuration: not held back, and through long silence."""

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from core_config import ROOT, Settings
from longhaul_testing.ports import free_port

from .conftest import RunningGateway, StartGateway, TinyWorker, submitted
from .event_reader import events_of

SHIPPED = ROOT / "examples" / "nginx.conf"
KEEPALIVES_OF_AN_HOUR = 3600 // 15

StartNginx = Callable[..., str]


@pytest.fixture(scope="module")
def nginx() -> str:
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")
    if found is None:
        reason = "nginx is not installed (Debian: apt-get install nginx-light)"
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)
    return found


@pytest.fixture
def start_nginx(nginx: str, tmp_path: Path) -> Iterator[StartNginx]:
    """Starts it with the shipped file, in which only addresses, and what the test changes, are others."""
    with contextlib.ExitStack() as stack:

        def start(gateway: RunningGateway, **changes: str) -> str:
            port = free_port()
            text = SHIPPED.read_text(encoding="utf-8")
            changed = {"127.0.0.1:8000": f"127.0.0.1:{gateway.port}", "127.0.0.1:8080": f"127.0.0.1:{port}", **changes}
            for old, new in changed.items():
                assert text.count(old) == 1, old
                text = text.replace(old, new)
            folder = tmp_path / f"nginx-{port}"
            folder.mkdir()
            file = folder / "nginx.conf"
            file.write_text(text, encoding="utf-8")
            command = [nginx, "-p", str(folder), "-c", str(file), "-e", "stderr", "-g", "daemon off;"]
            log = stack.enter_context((folder / "said").open("wb"))
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            _until_listening(f"http://127.0.0.1:{port}/health", process, folder / "said")
            return f"http://127.0.0.1:{port}"

        yield start


def _until_listening(url: str, process: "subprocess.Popen[bytes]", said: Path) -> None:
    until = time.monotonic() + 30
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < until, said.read_text()
        time.sleep(0.02)


def through(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=30, trust_env=False)


async def submitted_straight_to(gateway: RunningGateway) -> str:
    """Not through nginx: with so short a patience it could give up on the submit, too, on a busy machine."""
    async with through(gateway.url) as client:
        return await submitted(client)


async def test_events_arrive_before_the_next_ones_happen(
    gateway: RunningGateway, start_nginx: StartNginx, worker: TinyWorker, tmp_path: Path
):
    url = start_nginx(gateway)
    async with through(url) as client, asyncio.timeout(40):
        task_id = await submitted(client)
        token = (await client.post(f"/task/{task_id}/watch-token")).json()["watch_token"]
        async with events_of(client, task_id, watch_token=token) as reader:
            assert (await anext(reader)).data["status"] == "pending"
            claim = await worker.take()
            assert (await anext(reader)).data["status"] == "running"
            await worker.end("success", claim, result="done")
            assert [event.name for event in await reader.rest()] == ["status", "result"]
    (log,) = tmp_path.glob("nginx-*/nginx-access.log")
    assert f'"GET /task/{task_id}/events" 200' in log.read_text()
    assert token not in log.read_text(), "a watch token reaches no log"


async def test_a_stream_survives_an_hour_of_silence(
    start_gateway: StartGateway, start_nginx: StartNginx, worker: TinyWorker
):
    """As many keep-alives as an hour has, with the clock of both shortened: nginx gives up after 3 s."""
    gateway = start_gateway(stream_keepalive_seconds=0.02)
    task_id = await submitted_straight_to(gateway)
    url = start_nginx(gateway, **{"proxy_read_timeout 75s;": "proxy_read_timeout 3s;"})
    async with through(url) as client, asyncio.timeout(60), events_of(client, task_id) as reader:
        began = time.monotonic()
        await reader.until_comments(KEEPALIVES_OF_AN_HOUR)
        assert time.monotonic() - began > 3, "it was silent for longer than nginx waits"
        await worker.end("success", result="done")
        assert [event.name for event in await reader.rest()] == ["status", "status", "result"]


async def test_without_keep_alives_nginx_would_cut_it(start_gateway: StartGateway, start_nginx: StartNginx):
    gateway = start_gateway(stream_keepalive_seconds=60)
    task_id = await submitted_straight_to(gateway)
    url = start_nginx(gateway, **{"proxy_read_timeout 75s;": "proxy_read_timeout 1s;"})
    async with through(url) as client, asyncio.timeout(40), events_of(client, task_id) as reader:
        await anext(reader)
        with pytest.raises(httpx.RemoteProtocolError):
            await reader.rest()


def test_the_shipped_time_out_outlasts_what_is_silent():
    (seconds,) = re.findall(r"proxy_read_timeout (\d+)s;", SHIPPED.read_text(encoding="utf-8"))
    settings = Settings(_env_file=None)
    assert int(seconds) > max(60, settings.chat_timeout_seconds, 2 * settings.stream_keepalive_seconds)


async def test_what_names_callers_and_their_spend_is_not_passed_on(gateway: RunningGateway, start_nginx: StartNginx):
    async with through(start_nginx(gateway)) as client:
        assert (await client.get("/metrics")).status_code == 404
        assert (await client.get("/ready")).status_code in {200, 503}
    assert "agent_tasks_submitted_total" in httpx.get(f"{gateway.url}/metrics", trust_env=False).text
