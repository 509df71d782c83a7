"""A stream through whatever happens to its connection is the stream that nothing happened to: each event once."""

import asyncio
import random
import signal
from pathlib import Path

import httpx
import pytest

from longhaul_client import AsyncClient, Client, Event, LonghaulError, ResultEvent, StatusEvent, StepEvent, Task
from tests.conftest import free_port

from .conftest import Deployment, MakeProxy, MakeShell, until
from .shells import Kind

STEPS = 50
"""100 events, some 30 KB, and a result of half as much. A worker keeps no more notes of a run that never waits."""
HEAD = 900
"""Bytes that an answer's head and its first event have at most: a connection cut before brings nothing new."""


async def test_each_event_comes_once_wherever_the_stream_is_cut(shell: MakeShell, proxy: MakeProxy, url: str):
    straight = await shell(url)
    task_id = (await straight.call("submit", f"steps {STEPS}")).task_id
    uncut = await straight.events(task_id)
    assert [type(event) for event in uncut].count(StepEvent) == STEPS * 2
    assert isinstance(uncut[-1], ResultEvent)
    assert uncut[-1].task.answer() == "done"
    spread = random.Random(7)
    places = [0, 120, HEAD, HEAD + 1, *(spread.randint(HEAD, 6_000) for _ in range(10))]
    cutting = await proxy(*places)
    client = await shell(cutting.url)
    assert await client.events(task_id) == uncut
    assert cutting.cuts == len(places), "every cut was inside the stream"


async def test_a_stream_outlives_a_gateway_that_is_killed_or_stopped(
    shell: MakeShell, kind: Kind, deployment: Deployment, url: str, tmp_path: Path
):
    port = free_port()
    first = deployment.start_gateway(port)
    straight = await shell(url)
    gate = tmp_path / "gate"
    task_id = (await straight.call("submit", f"begin {gate}")).task_id
    client = await shell(f"http://127.0.0.1:{port}", retry_for_s=120)
    seen = []
    async with asyncio.timeout(120):
        async for event in client.each("stream", task_id):
            seen.append(event)
            if isinstance(event, StepEvent) and event.phase == "start":
                first.process.send_signal(signal.SIGKILL if kind == "sync" else signal.SIGTERM)
                first.ended()
                await asyncio.to_thread(deployment.start_gateway, port)
                gate.touch()
    assert seen == await straight.events(task_id)
    assert [event.phase for event in seen if isinstance(event, StepEvent)] == ["start", "end"]


async def test_a_stream_is_taken_up_after_any_event_also_after_the_last(shell: MakeShell, url: str):
    client = await shell(url)
    task_id = (await client.call("submit", "steps 2")).task_id
    whole = await client.events(task_id)
    for place, event in enumerate(whole):
        assert await client.events(task_id, after=event.id) == whole[place + 1 :]
    with pytest.raises(LonghaulError) as unknown:
        await client.events(task_id, after="1-1")
    assert (unknown.value.code, unknown.value.status) == ("unknown_event", 422)


async def test_events_are_typed_and_tell_what_the_task_says(shell: MakeShell, url: str):
    client = await shell(url)
    task_id = (await client.call("submit", "steps 2")).task_id
    events = await client.events(task_id)
    statuses = [event.status for event in events if isinstance(event, StatusEvent)]
    assert statuses == ["pending", "running", "success"]
    steps = [event for event in events if isinstance(event, StepEvent)]
    assert [(step.kind, step.phase, step.number) for step in steps] == [
        ("model", "start", 1), ("model", "end", 1), ("tool", "start", 2), ("tool", "end", 2)
    ]  # fmt: skip
    assert steps[1].cost_usd == 0.25
    assert steps[1].token_usage is not None
    assert steps[1].token_usage["total_tokens"] == 15
    assert steps[3].error == "no"
    assert all(event.id and event.task_id == task_id for event in events)
    result = events[-1]
    assert isinstance(result, ResultEvent)
    assert result.task == await client.call("get", task_id)
    task: Task = result.task
    assert task.created_at.tzinfo is not None
    assert [(step.kind, step.state, step.error) for step in task.steps] == [
        ("model", "done", None),
        ("tool", "failed", "no"),
    ]


async def test_a_caller_who_gives_up_waiting_for_an_event_gets_it_with_the_next_call(
    proxy: MakeProxy, url: str, tmp_path: Path
):
    between = await proxy()
    gate = tmp_path / "gate"
    async with AsyncClient(url) as straight, AsyncClient(between.url) as client:
        task_id = (await straight.submit(f"begin {gate}")).task_id
        seen: list[Event] = []
        async with client.stream(task_id) as events:
            while not (seen and isinstance(seen[-1], StepEvent)):
                seen.append(await anext(events))
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(anext(events), 0.1)
                await until(lambda: asyncio.sleep(0, between.connections == 0))
            gate.touch()
            seen += [event async for event in events]
        async with straight.stream(task_id) as events:
            assert seen == [event async for event in events]


async def test_who_cancels_or_leaves_leaves_no_connection(proxy: MakeProxy, url: str, tmp_path: Path):
    between = await proxy()

    async def none_is_open() -> bool:
        return between.connections == 0

    async with AsyncClient(between.url) as client:
        task_id = (await client.submit(f"hold {tmp_path / 'never'}")).task_id
    await until(none_is_open)
    async with AsyncClient(between.url) as client:
        for call in (client.wait(task_id), _drain(client, task_id), client.chat(f"hold {tmp_path / 'never'}")):
            running = asyncio.create_task(call)
            await until(lambda: asyncio.sleep(0, between.connections == 1))
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            await until(none_is_open)
        async with client.stream(task_id) as events:
            await anext(events)
            assert between.connections == 1
        await until(none_is_open)
        assert await client.cancel(task_id) in {"running", "cancelled"}
    blocking = Client(between.url)
    with blocking.stream(task_id) as left:
        await asyncio.to_thread(next, left)
        assert between.connections == 1
    await until(none_is_open)
    blocking.close()


async def _drain(client: AsyncClient, task_id: str) -> None:
    async with client.stream(task_id) as events:
        async for _ in events:
            pass


async def test_a_stream_that_cannot_be_read_leaves_no_connection_either():
    """A server that says nonsense, and then nothing."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nid: 1-0\nevent: step\ndata: x\n\n")
        await writer.drain()
        await reader.read()
        ended.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with asyncio.timeout(60):
        async with AsyncClient(url) as client:
            events = client.stream("f" * 32)
            with pytest.raises(LonghaulError, match="does not answer as Longhaul does"):
                await anext(events)
            await ended.wait()
        ended.clear()
        with Client(url) as blocking:
            left = blocking.stream("f" * 32)
            with pytest.raises(LonghaulError, match="does not answer as Longhaul does"):
                await asyncio.to_thread(next, left)
            await ended.wait()
    server.close()


async def test_a_stream_of_no_task_is_refused_at_once(shell: MakeShell, direct: httpx.AsyncClient):
    client = await shell(str(direct.base_url))
    with pytest.raises(LonghaulError) as missing:
        await client.events("0" * 32)
    assert (missing.value.code, missing.value.status) == ("task_not_found", 404)
