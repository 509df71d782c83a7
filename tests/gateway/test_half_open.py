"""A Redis that takes what it is sent and whose answers never come: a connection that is half open."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

import httpx
import pytest

from core_config import Settings
from taskstore.store import TaskStore
from tests.chaos.proxy import Proxy
from tests.conftest import free_port

from .conftest import GatewayProcess, StartGateway, submitted
from .test_process import healthy

KEY = {"idempotency-key": "one"}
BODY = {"message": "once"}


@pytest.fixture
async def proxy(settings: Settings) -> AsyncIterator[Proxy]:
    assert settings.redis_url is not None
    port = urlsplit(settings.redis_url).port
    assert port is not None
    between = Proxy(port)
    await between.start()
    yield between
    await between.stop()


def through(proxy: Proxy) -> str:
    return f"redis://127.0.0.1:{proxy.port}/0"


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await look():
            await asyncio.sleep(0.01)


async def test_a_call_is_refused_in_time_and_the_next_is_served_when_redis_answers_again(
    proxy: Proxy, start_gateway: StartGateway
):
    async with start_gateway(redis_url=through(proxy)).client() as client:
        task_id = await submitted(client)
        proxy.half_open("both")
        async with asyncio.timeout(30):  # of time-outs that are 3 s each
            for answer in await asyncio.gather(
                client.get(f"/task/{task_id}"), client.post("/task", json=BODY), client.post(f"/task/{task_id}/cancel")
            ):
                assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
                assert 0 < int(answer.headers["retry-after"]) <= 5
        proxy.heal()

        async def served() -> bool:
            return (await client.get(f"/task/{task_id}")).status_code == 200

        await until(served)
        assert (await client.get(f"/task/{task_id}")).json()["status"] == "pending"


async def test_a_gateway_killed_between_the_write_and_its_answer_leaves_one_task_for_the_repeated_submit(
    proxy: Proxy, start_gateway: StartGateway, run_gateway: Callable[..., GatewayProcess], store: TaskStore
):
    port = free_port()
    killed = run_gateway(GATEWAY_PORT=str(port), REDIS_URL=through(proxy))
    await asyncio.to_thread(healthy, killed, port)
    proxy.half_open("replies")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
        call = asyncio.create_task(client.post("/task", json=BODY, headers=KEY))

        async def written() -> bool:
            return (await store.overview()).queued == 1

        await until(written)
        killed.process.kill()
        with contextlib.suppress(httpx.TransportError):
            assert (await call).status_code == 503  # on a machine so slow that it gave up before it was killed
    async with start_gateway().client() as client:
        again = [await client.post("/task", json=BODY, headers=KEY) for _ in range(2)]
    assert [answer.status_code for answer in again] == [200, 200]
    first, second = (answer.json()["task_id"] for answer in again)
    assert first == second
    assert (await store.overview()).queued == 1
    assert (await store.get(first)).message == "once"
