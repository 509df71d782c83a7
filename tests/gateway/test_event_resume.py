"""A stream that is cut and taken up elsewhere is the stream that was not cut: two gateway processes, a worker process
that is killed in the middle, and a cut after every single event.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from core_config import ROOT, Settings
from tests.conftest import free_port

from .conftest import GatewayProcess, submitted
from .event_reader import Event, all_events, events_of

STEPS = 70
"""Half of them by the worker that is killed, then all by the next: with each one's begin and end 210 events."""


class Deployment:
    def __init__(self, settings: Settings, folder: Path, stack: contextlib.ExitStack) -> None:
        self._environment = {
            "REDIS_URL": settings.redis_address,
            "KEY_PREFIX": settings.key_prefix,
            "LEASE_SECONDS": "1",
            "LOG_LEVEL": "DEBUG",
        }
        self._folder = folder
        self._stack = stack
        self._gateways: list[GatewayProcess] = []

    def gateway(self) -> str:
        port = free_port()
        folder = self._folder / f"gateway-{port}"
        folder.mkdir()
        running = GatewayProcess(folder, [], {**self._environment, "GATEWAY_PORT": str(port)}, ())
        self._end(running.process)
        self._gateways.append(running)
        return f"http://127.0.0.1:{port}"

    def worker(self, name: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "tests.gateway.paced_worker", name]
        environment = {"PATH": os.environ["PATH"], **self._environment}
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        self._end(process)
        return process

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)

    def said(self) -> str:
        return "".join(gateway.said() for gateway in self._gateways)


@pytest.fixture
def deployment(settings: Settings, tmp_path: Path) -> Iterator[Deployment]:
    with contextlib.ExitStack() as stack:
        yield Deployment(settings, tmp_path, stack)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.02)


async def written(client: httpx.AsyncClient, task_id: str, steps: int) -> None:
    """A worker that is killed takes the notes of its last tenth of a second along."""
    async with asyncio.timeout(60):
        while len((await client.get(f"/task/{task_id}")).json()["steps"]) < steps:
            await asyncio.sleep(0.02)


async def healthy(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get("/health")).status_code == 200:
                    return
            await asyncio.sleep(0.05)


async def in_pieces(clients: list[httpx.AsyncClient], task_id: str) -> list[Event]:
    """Reads one event, cuts the connection, goes on at the other gateway; until the 204 that says that it is over."""
    seen: list[Event] = []
    while True:
        client = clients[len(seen) % len(clients)]
        after = seen[-1].id if seen else None
        if after is not None and after.endswith(".result"):
            last = await client.get(f"/task/{task_id}/events", headers={"last-event-id": after})
            assert last.status_code == 204
            return seen
        async with events_of(client, task_id, after) as reader:
            seen.append(await anext(reader))


async def test_a_stream_cut_at_every_event_is_the_uncut_one_also_when_its_worker_is_killed(
    deployment: Deployment, tmp_path: Path
):
    urls = [deployment.gateway(), deployment.gateway()]
    first_worker = deployment.worker("first")
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=60, trust_env=False))
            for url in urls
        ]
        for client in clients:
            await healthy(client)
        go = tmp_path / "go"
        task_id = await submitted(clients[0], message=f"walk {STEPS} {go}")
        token = (await clients[0].post(f"/task/{task_id}/watch-token")).json()["watch_token"]
        async with asyncio.timeout(150):
            uncut = [
                asyncio.create_task(_whole(client, task_id, query))
                for client, query in zip(clients, ({}, {"watch_token": token}), strict=True)
            ]
            cut = asyncio.create_task(in_pieces(clients, task_id))
            await until(Path(f"{go}.half").exists)
            await written(clients[0], task_id, STEPS // 2)
            first_worker.send_signal(signal.SIGKILL)
            first_worker.wait()
            deployment.worker("second")
            go.touch()
            whole, other = await asyncio.gather(*uncut)
            pieces = await cut
        steps = [(event.data["attempt"], event.data["number"]) for event in whole if event.name == "step"]
        assert [number for attempt, number in steps if attempt == 2] == [n for n in range(1, STEPS + 1) for _ in "ab"]
        assert len([number for attempt, number in steps if attempt == 1]) > STEPS // 2
        assert len(whole) > 200
        assert [event.data["cause"] for event in whole if event.name == "status"].count("worker_lost") == 1
        assert len({event.id for event in whole}) == len(whole)
        assert other == whole
        assert pieces == whole
        # and after the end, at every place
        assert await all_events(clients[1], task_id) == whole
        for place in range(0, len(whole) - 1, 10):
            assert await all_events(clients[place // 10 % 2], task_id, whole[place].id) == whole[place + 1 :]
    assert token not in deployment.said(), "a watch token reaches no log"


async def _whole(client: httpx.AsyncClient, task_id: str, query: dict[str, str]) -> list[Event]:
    async with events_of(client, task_id, None, **query) as reader:
        return await reader.rest()
