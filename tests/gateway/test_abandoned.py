"""A client that goes away while it waits: the wait ends at once and holds nothing any more, and the task goes on."""

import asyncio
import json
import socket
from collections.abc import Callable

import httpx
import pytest

from gateway.running import Gateway
from taskstore.store import TaskStore

from .conftest import RunningGateway, TinyWorker, submitted
from .test_metrics import counts

LONG_S = 60
"""How long the abandoned calls wait: longer than the test."""


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)


def waits(gateway: RunningGateway) -> int:
    """How many calls wait at this gateway."""
    running: Gateway = gateway.app.state.gateway
    return sum(len(calls) for calls in running.watcher._changes.copy().values())


def ask(gateway: RunningGateway, head: str, body: str = "") -> socket.socket:
    """A call on a connection of its own."""
    connection = gateway.connect()
    lines = (f"{head} HTTP/1.1", f"host: 127.0.0.1:{gateway.port}", "content-type: application/json",
             f"content-length: {len(body)}", "", body)  # fmt: skip
    connection.sendall("\r\n".join(lines).encode())
    return connection


async def test_an_abandoned_wait_ends_at_once_and_the_task_goes_on(
    client: httpx.AsyncClient, gateway: RunningGateway, worker: TinyWorker
):
    task_id = await submitted(client)
    before = await counts(client)
    waiting = [ask(gateway, f"GET /task/{task_id}?wait={LONG_S}") for _ in range(5)]
    stays = asyncio.create_task(client.get(f"/task/{task_id}", params={"wait": LONG_S}))
    await until(lambda: waits(gateway) == len(waiting) + 1)

    for connection in waiting[:-1]:
        connection.close()
    await until(lambda: waits(gateway) == 2)
    left = ("agent_requests_total", "/task/{task_id}", "wait", "499")
    async with asyncio.timeout(30):
        while (await counts(client)).get(left, 0) - before.get(left, 0) < len(waiting) - 1:
            await asyncio.sleep(0.01)

    await worker.end("success", result="42")
    assert (await asyncio.wait_for(stays, 10)).json()["result"] == "42"
    waiting[-1].settimeout(10)
    assert b'"result":"42"' in await asyncio.to_thread(waiting[-1].recv, 65536)
    waiting[-1].close()
    await until(lambda: waits(gateway) == 0)


async def test_an_abandoned_chat_ends_at_once_and_its_task_goes_on(
    gateway: RunningGateway, worker: TinyWorker, store: TaskStore
):
    chat = ask(gateway, "POST /chat", json.dumps({"message": "talk"}))
    await until(lambda: waits(gateway) == 1)
    chat.close()
    await until(lambda: waits(gateway) == 0)
    claim = await worker.end("success", result="talked")
    assert (await store.get(claim.task_id)).result == "talked"


async def test_a_client_that_sends_its_body_late_is_still_answered(
    client: httpx.AsyncClient, gateway: RunningGateway, worker: TinyWorker
):
    """A GET may bring a body, which nobody reads: that it arrives is no sign that its client has gone."""
    task_id = await submitted(client)
    connection = gateway.connect()
    head = (
        f"GET /task/{task_id}?wait={LONG_S} HTTP/1.1\r\nhost: 127.0.0.1:{gateway.port}\r\ncontent-length: 4\r\n\r\nab"
    )
    connection.sendall(head.encode())
    await until(lambda: waits(gateway) == 1)
    connection.sendall(b"cd")
    await worker.end("success", result="42")
    connection.settimeout(10)
    assert b'"result":"42"' in await asyncio.to_thread(connection.recv, 65536)
    connection.close()


@pytest.mark.parametrize("seconds", ["0", "0.05"])
async def test_who_does_not_wait_or_not_for_long_is_answered(client: httpx.AsyncClient, seconds: str):
    task_id = await submitted(client)
    answer = await client.get(f"/task/{task_id}", params={"wait": seconds})
    assert (answer.status_code, answer.json()["status"]) == (200, "pending")
