"""GET /task/{id}/events: what happens to a task as it happens, resumed exactly, and cheap while nothing does."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import redis
from pydantic import BaseModel

from core_config import Settings
from gateway import event_stream, server
from gateway.event_frames import DATA
from gateway.task_view import TaskView
from taskstore.claims import Claim
from taskstore.steps import StepBatch, StepNote
from taskstore.store import TaskStore

from .conftest import RunningGateway, StartGateway, TinyWorker, submitted
from .event_reader import Event, all_events, events_of


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


async def note(store: TaskStore, claim: Claim, first: int, *steps: dict[str, Any]) -> None:
    notes = [StepNote(json.dumps(step), 0.0) for step in steps]
    assert await store.step([(claim.task_id, claim.fence, StepBatch(first, notes))]) == ["ok"]


def a_step(number: int, phase: str, **more: Any) -> dict[str, Any]:
    return {"kind": "tool", "phase": phase, "number": number, "name": "adder", **more}


def token_of(claim: Claim) -> dict[Any, Any]:
    """An entry of a task's stream, but for its kind and text."""
    return {"type": "token", "status": "running", "attempt": 1, "fence": claim.fence, "at": 0, "number": 1}


def names(events: list[Event]) -> list[str]:
    return [event.data["status"] if event.name == "status" else event.name for event in events]


async def ended_task(client: httpx.AsyncClient, worker: TinyWorker, store: TaskStore, steps: int = 2) -> str:
    """A task that made so many tool calls and succeeded."""
    task_id = await submitted(client)
    claim = await worker.take()
    for number in range(1, steps + 1):
        await note(
            store, claim, 2 * number - 1, a_step(number, "start", arguments='{"a": 1}'),
            a_step(number, "end", result="2", duration_ms=12),
        )  # fmt: skip
    await worker.end("success", claim, result="two")
    return task_id


async def test_events_come_as_they_happen_and_end_with_the_result(
    client: httpx.AsyncClient, worker: TinyWorker, store: TaskStore
):
    task_id = await submitted(client)
    async with events_of(client, task_id) as reader, asyncio.timeout(20):
        headers = reader.answer.headers
        assert headers["content-type"].startswith("text/event-stream")
        assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
        assert "content-encoding" not in headers
        # each is read before the next one happens
        seen = [await anext(reader)]
        claim = await worker.take()
        seen.append(await anext(reader))
        await note(store, claim, 1, a_step(1, "start", arguments='{"a": 1}'))
        seen.append(await anext(reader))
        await note(store, claim, 2, a_step(1, "end", result="2", duration_ms=12))
        seen.append(await anext(reader))
        await client.post(f"/task/{task_id}/cancel")
        seen.append(await anext(reader))
        await worker.end("success", claim, result="two")
        seen += await reader.rest()
    assert names(seen) == ["pending", "running", "step", "step", "running", "success", "result"]
    assert [event.data.get("cause") for event in seen if event.name == "status"] == [
        None, None, "cancel_requested", None,
    ]  # fmt: skip
    begun, ended = (event.data for event in seen if event.name == "step")
    assert (begun["phase"], begun["arguments"], begun["result"]) == ("start", '{"a": 1}', None)
    assert (ended["phase"], ended["result"], ended["duration_ms"], ended["attempt"]) == ("end", "2", 12, 1)
    assert seen[-1].data == (await client.get(f"/task/{task_id}")).json()
    assert [event.id for event in seen[:-1]] == [event.id for event in seen_in_store(await store.history(task_id))]
    assert seen[-1].id == f"{seen[-2].id}.result"
    assert reader.retry is not None
    for event in seen:
        shape: type[BaseModel] = DATA.get(event.name, TaskView)
        assert set(event.data) == set(shape.model_fields), event


def seen_in_store(history: Any) -> Any:
    return history.events


async def test_a_retry_is_pending_to_clients_of_four_statuses(client: httpx.AsyncClient, worker: TinyWorker):
    task_id = await submitted(client)
    await worker.end("retry", delay_ms=60_000, error="busy", error_code="provider_rate_limited")
    async with events_of(client, task_id) as reader, asyncio.timeout(20):
        (*_, last) = [await anext(reader) for _ in range(3)]
    assert (last.data["status"], last.data["phase"]) == ("pending", "retrying")
    assert last.data["cause"] == "provider_rate_limited"


async def test_an_ended_task_is_replayed_and_can_be_taken_up_after_each_event(
    client: httpx.AsyncClient, worker: TinyWorker, store: TaskStore
):
    task_id = await ended_task(client, worker, store)
    whole = await all_events(client, task_id)
    assert names(whole) == ["pending", "running", *["step"] * 4, "success", "result"]
    for place, event in enumerate(whole[:-1]):
        assert await all_events(client, task_id, event.id) == whole[place + 1 :]
        assert await all_events(client, task_id, **{"from": event.id}) == whole[place + 1 :]
    # a browser that comes back sends the header beside the address that it was given first
    assert await all_events(client, task_id, whole[-2].id, **{"from": whole[0].id}) == whole[-1:]
    done = await client.get(f"/task/{task_id}/events", headers={"last-event-id": str(whole[-1].id)})
    assert (done.status_code, done.content) == (204, b""), "a browser that reads 204 comes back no more"


async def test_what_is_no_event_of_the_task_is_refused_with_what_to_do(
    client: httpx.AsyncClient, worker: TinyWorker, store: TaskStore
):
    others, task_id = [await ended_task(client, worker, store, 0) for _ in range(2)]
    foreign = (await all_events(client, others))[0].id
    for bad in ("x", "1-1", "-", "1", "9999999999999-0", "1-1.result", f"{'1' * 30}-0", "$", foreign):
        for options in ({"headers": {"last-event-id": bad}}, {"params": {"from": bad}}):
            answer = await client.get(f"/task/{task_id}/events", **options)  # type: ignore[arg-type]  # one of two
            assert (answer.status_code, answer.json()["code"]) == (422, "unknown_event"), bad
            assert "or none to get all events" in answer.json()["detail"]
    missing = await client.get(f"/task/{'f' * 32}/events", headers={"last-event-id": "x"})
    assert missing.status_code == 404, "whose task it is comes first"
    odd = await client.get(f"/task/{task_id}/events", params={"form": "1-1"})
    assert "did you mean 'from'" in odd.json()["detail"]


async def test_a_replay_by_the_operator_goes_on_after_the_result(
    client: httpx.AsyncClient, worker: TinyWorker, store: TaskStore
):
    task_id = await submitted(client)
    await worker.end("bury", error="no", error_code="internal")
    first = await all_events(client, task_id)
    assert names(first) == ["pending", "running", "failed", "result"]
    await store.replay(task_id)
    async with events_of(client, task_id, first[-1].id) as reader, asyncio.timeout(20):
        assert (await anext(reader)).data["cause"] == "replayed"
        await worker.end("success", result="yes")
        rest = await reader.rest()
    assert names(rest) == ["running", "success", "result"]
    assert names(await all_events(client, task_id)) == [*names(first)[:-1], "pending", *names(rest)]


async def test_tokens_come_only_to_who_asks_for_them(
    client: httpx.AsyncClient, worker: TinyWorker, store: TaskStore, settings: Settings
):
    task_id = await submitted(client)
    claim = await worker.take()
    fields = token_of(claim)
    key = store.keys.events(task_id)
    async with asyncio.timeout(20):
        async with events_of(client, task_id, tokens="true") as told, events_of(client, task_id) as silent:
            for kind, text in (("reasoning", "hm"), ("text", "你\n好"), ("text", "!")):
                await store.redis.xadd(key, {**fields, "kind": kind, "text": text})
            await store.redis.publish(key, "x")
            for _ in range(2):
                assert (await anext(told)).name == (await anext(silent)).name == "status"
            tokens = [await anext(told) for _ in range(3)]
            for _ in range(450):  # pages of nothing but what was not asked for
                await store.redis.xadd(key, {**fields, "kind": "text", "text": "x"})
            await worker.end("success", claim, result="done")
            assert names(await silent.rest()) == ["success", "result"]
            assert names(await told.rest()) == [*["token"] * 450, "success", "result"]
    assert [(one.data["kind"], one.data["text"]) for one in tokens] == [
        ("reasoning", "hm"), ("text", "你\n好"), ("text", "!"),
    ]  # fmt: skip
    assert set(tokens[0].data) == set(DATA["token"].model_fields)
    assert names(await all_events(client, task_id)) == ["pending", "running", "success", "result"]


async def test_a_gap_is_said(client: httpx.AsyncClient, worker: TinyWorker, store: TaskStore):
    task_id = await ended_task(client, worker, store, 4)
    whole = await all_events(client, task_id)
    await store.redis.xtrim(store.keys.events(task_id), maxlen=5, approximate=False)
    kept = whole[-6:]
    for after in (None, whole[0].id, whole[3].id):
        gap, *rest = await all_events(client, task_id, after)
        assert (gap.name, gap.id, gap.data["after"]) == ("gap", None, after)
        assert set(gap.data) == set(DATA["gap"].model_fields)
        assert (rest[:-1], rest[-1].id) == (kept[:-1], kept[-1].id)
    again = await all_events(client, task_id, kept[0].id)
    assert again[:-1] == kept[1:-1], "of what is still there nothing is missing"


async def test_a_silent_stream_says_that_it_is_there(start_gateway: StartGateway, worker: TinyWorker):
    async with start_gateway(stream_keepalive_seconds=0.05).client() as client, asyncio.timeout(20):
        task_id = await submitted(client)
        async with events_of(client, task_id) as reader:
            await reader.until_comments(5)
            await worker.end("success", result="done")
            assert [event.name for event in await reader.rest()][-1] == "result"


async def test_an_idle_watcher_causes_no_redis_command(start_gateway: StartGateway, settings: Settings):
    gateway = start_gateway(stream_keepalive_seconds=1)
    async with gateway.client() as client:
        task_id = await submitted(client)
        async with events_of(client, task_id) as one, events_of(client, task_id) as other, asyncio.timeout(40):
            for reader in (one, other):
                await anext(reader)
                await reader.until_comments(1)
            seen = await asyncio.to_thread(commands_of, settings, 10.0)
            await one.until_comments(5)
    assert seen == []


def commands_of(settings: Settings, seconds: float) -> list[str]:
    """What the server is asked in so many seconds about this test's keys."""
    with (
        redis.Redis.from_url(settings.redis_address) as server,
        redis.Redis.from_url(settings.redis_address) as watching,
        watching.monitor() as monitor,
    ):
        time.sleep(seconds)
        server.echo("the end")
        seen: list[str] = []
        for command in monitor.listen():
            if command["command"] == "ECHO the end":
                break
            seen.append(command["command"])
    return [command for command in seen if settings.key_prefix in command]


async def test_a_shutdown_ends_streams_so_that_they_go_on_elsewhere(start_gateway: StartGateway, worker: TinyWorker):
    leaving, staying = start_gateway(), start_gateway()
    async with leaving.client() as client, staying.client() as other, asyncio.timeout(30):
        task_id = await submitted(client)
        async with events_of(client, task_id) as reader:
            first = await anext(reader)
            leaving.begin_stop()
            assert await reader.rest() == []
        assert 500 <= (reader.retry or 0) <= 2000
        assert reader.comments[-1].startswith("this gateway is being restarted")
        await worker.end("success", result="done")
        assert names(await all_events(other, task_id, first.id)) == ["running", "success", "result"]


async def test_who_leaves_is_forgotten(client: httpx.AsyncClient, gateway: RunningGateway, store: TaskStore):
    follower = gateway.app.state.gateway.follower
    task_id = await submitted(client)
    async with events_of(client, task_id) as one:
        await anext(one)
        async with events_of(client, task_id) as other:
            await anext(other)
            assert follower.watched == 2
        await until(lambda: follower.watched == 1)
    await until(lambda: follower.watched == 0)
    assert not follower._feeds
    async with asyncio.timeout(20):
        while await store.redis.pubsub_numsub(store.keys.events(task_id)) != [(store.keys.events(task_id), 0)]:
            await asyncio.sleep(0.01)
    assert (await client.get(f"/task/{task_id}")).json()["status"] == "pending", "its task goes on"


@contextlib.contextmanager
def deaf_watcher(gateway: RunningGateway, task_id: str) -> Iterator[socket.socket]:
    """Asks for events and then reads nothing."""
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.settimeout(20)
        deaf.connect(("127.0.0.1", gateway.port))
        deaf.sendall(f"GET /task/{task_id}/events?tokens=true HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        yield deaf


async def talk(store: TaskStore, claim: Claim) -> None:
    """More of what a model says than a connection's buffers in the kernel have room for, in a few calls."""
    key = store.keys.events(claim.task_id)
    fields = token_of(claim)
    async with store.redis.pipeline(transaction=False) as pipe:
        for _ in range(20):
            pipe.xadd(key, {**fields, "kind": "text", "text": "x" * 60_000})
        pipe.publish(key, "x")
        await pipe.execute()


async def test_a_watcher_that_reads_nothing_is_dropped_with_a_reason_and_costs_nobody_anything(
    start_gateway: StartGateway,
    store: TaskStore,
    worker: TinyWorker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr(event_stream, "STALLED_AFTER_S", 0.5)
    monkeypatch.setattr(server, "LINGER_S", 30.0)
    gateway = start_gateway()
    follower = gateway.app.state.gateway.follower
    async with gateway.client() as client, asyncio.timeout(60):
        task_id = await submitted(client)
        claim = await worker.take()
        async with events_of(client, task_id) as reader:
            await anext(reader)
            with deaf_watcher(gateway, task_id) as deaf:
                await until(lambda: follower.watched == 2)
                number = 0
                while follower.watched == 2:
                    number += 1
                    await talk(store, claim)
                    await note(store, claim, number, a_step(number, "start"))
                await worker.end("success", claim, result="done")
                steps = [event.data["number"] for event in await reader.rest() if event.name == "step"]
                assert steps == [*range(1, number + 1)], "whoever reads got everything"
                said = await asyncio.to_thread(read_all, deaf)
    assert said.endswith(b"\r\n0\r\n\r\n"), "who reads again in time learns why"
    assert b'event: dropped\ndata: {"reason":"stalled"' in said
    (record,) = [record for record in caplog.records if record.message == "stream_dropped"]
    assert vars(record)["reason"] == "stalled"


async def test_who_never_reads_again_is_cut_off(
    start_gateway: StartGateway, store: TaskStore, worker: TinyWorker, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(event_stream, "STALLED_AFTER_S", 0.2)
    monkeypatch.setattr(server, "LINGER_S", 0.2)
    gateway = start_gateway()
    connections = gateway._server.server_state.connections
    async with gateway.client() as client, asyncio.timeout(60):
        task_id = await submitted(client)
        claim = await worker.take()
        for _ in range(10):
            await talk(store, claim)
        with deaf_watcher(gateway, task_id):
            await until(lambda: len(connections) == 2)
            await until(lambda: len(connections) == 1)


def read_all(connection: socket.socket) -> bytes:
    said = b""
    while chunk := connection.recv(65_536):
        said += chunk
    return said


async def test_hundreds_of_events_come_in_pages_without_a_gap(
    client: httpx.AsyncClient, worker: TinyWorker, store: TaskStore
):
    task_id = await ended_task(client, worker, store, 240)
    whole = await all_events(client, task_id)
    assert len(whole) == 2 + 480 + 2
    assert [event.id for event in whole[:-1]] == [event.id for event in (await store.history(task_id)).events]
    assert await all_events(client, task_id, whole[210].id) == whole[211:]
