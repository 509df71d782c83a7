"""A submit whose answer is lost makes one task, whatever it was that got lost."""

import asyncio
import re
import uuid
from pathlib import Path

import httpx
import pytest

from longhaul_client import LonghaulError, Reply
from tests.conftest import RedisServer, free_port
from tests.gateway.conftest import StartGateway

from .conftest import Deployment, MakeProxy, MakeShell, tasks_of, until
from .shells import Kind, Shell


@pytest.fixture
def mark() -> str:
    return uuid.uuid4().hex


async def test_answers_that_are_cut_off_make_one_task(
    shell: MakeShell, proxy: MakeProxy, direct: httpx.AsyncClient, mark: str
):
    cutting = await proxy(0, 1, 40, 200)
    client = await shell(cutting.url)
    submitted = await client.call("submit", "say once", metadata={"mark": mark})
    assert cutting.cuts == 4, "the gateway was asked five times"
    assert await tasks_of(direct, mark) == [submitted.task_id]
    assert (await client.call("wait", submitted.task_id, 60)).answer() == "once"


async def test_an_answer_that_never_comes_makes_one_task(
    shell: MakeShell, proxy: MakeProxy, direct: httpx.AsyncClient, mark: str
):
    swallowing = await proxy()
    swallowing.half_open("replies")
    client = await shell(swallowing.url, answer_timeout_s=0.3)
    asking = asyncio.create_task(client.call("submit", "say once", metadata={"mark": mark}))

    async def is_written() -> bool:
        return bool(await tasks_of(direct, mark))

    await until(is_written)
    swallowing.heal()
    submitted = await asking
    assert await tasks_of(direct, mark) == [submitted.task_id]


async def test_a_key_of_ones_own_is_kept_over_calls_and_another_body_is_refused(shell: MakeShell, url: str, mark: str):
    client = await shell(url)
    first = await client.call("submit", "say 1", idempotency_key=mark)
    again = await client.call("submit", "say 1", idempotency_key=mark)
    assert again.task_id == first.task_id
    with pytest.raises(LonghaulError) as refused:
        await client.call("submit", "say 2", idempotency_key=mark)
    assert (refused.value.code, refused.value.status) == ("idempotency_conflict", 409)
    assert (await client.call("submit", "say 1")).task_id != first.task_id


async def test_a_chat_and_a_chat_stream_whose_answers_are_cut_off_make_one_task_each(
    shell: MakeShell, proxy: MakeProxy, mark: str
):
    cutting = await proxy(0, 300)
    client = await shell(cutting.url)
    answer = await client.call("chat", "say " + mark)
    assert (answer.output, cutting.cuts) == (mark, 2)
    streaming = await proxy(0, 700, 900)
    client = await shell(streaming.url)
    events = [event async for event in client.each("chat_stream", "steps 20")]
    assert streaming.cuts == 3
    assert len({event.task_id for event in events}) == 1
    direct = await shell(f"http://127.0.0.1:{streaming.target_port}")
    assert events == await direct.events(events[0].task_id, tokens=True)
    newest = (await client.call("request", "GET", "/tasks")).json()["tasks"][:2]
    assert [task["task_id"] for task in newest] == [events[0].task_id, answer.task_id], "no other was made"


async def refusals(gateway: httpx.AsyncClient) -> float:
    """How many submits it has answered with 503."""
    page = (await gateway.get("/metrics")).text
    found = re.search(r'^agent_requests_total\{endpoint="/task",kind="submit",status="503"\} (\S+)', page, re.MULTILINE)
    return 0 if found is None else float(found[1])


@pytest.mark.parametrize("kind", ["async"])
async def test_a_submit_while_redis_is_away_is_sent_again_until_it_is_back(
    kind: Kind, start_gateway: StartGateway, tmp_path: Path
):
    redis = RedisServer(tmp_path)
    redis.start()
    try:
        gateway = start_gateway(redis_url=redis.url)
        async with Shell(kind, gateway.url) as client, gateway.client() as outside:
            before = await client.call("submit", "say 1")
            redis.kill()
            refused = await refusals(outside)
            asking = asyncio.create_task(client.call("submit", "say 2"))

            async def was_refused() -> bool:
                return await refusals(outside) > refused

            await until(was_refused)
            assert not asking.done()
            redis.start()
            after = await asking
            assert after.task_id != before.task_id
            assert (await client.call("get", after.task_id)).status == "pending"
    finally:
        redis.kill()


async def test_calls_go_through_a_gateway_that_is_killed_and_started_again(
    shell: MakeShell, deployment: Deployment, direct: httpx.AsyncClient, tmp_path: Path, mark: str
):
    port = free_port()
    first = deployment.start_gateway(port)
    client = await shell(f"http://127.0.0.1:{port}", retry_for_s=120)
    gate = tmp_path / "gate"
    held = await client.call("submit", f"hold {gate}")
    waiting = asyncio.create_task(client.call("wait", held.task_id))
    await until(lambda: asyncio.sleep(0, not waiting.done()))
    first.process.kill()
    first.ended()
    submitting = asyncio.create_task(client.call("submit", "say late", metadata={"mark": mark}))
    await asyncio.to_thread(deployment.start_gateway, port)
    submitted = await submitting
    assert await tasks_of(direct, mark) == [submitted.task_id]
    assert not waiting.done()
    gate.touch()
    assert (await waiting).answer() == "done"


async def test_any_other_route_is_called_as_it_is(shell: MakeShell, url: str):
    client = await shell(url)
    health = await client.call("request", "GET", "/health")
    assert isinstance(health, Reply)
    assert health.json()["status"] == "healthy"
    answer = await client.call("request", "POST", "/chat", body={"message": "say é"})
    assert answer.json()["output"] == "é"
    assert (await client.call("request", "GET", "/tasks", query={"limit": "1"})).json()["tasks"]
