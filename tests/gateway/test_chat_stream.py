"""POST /chat/stream: a task in the interactive lane, followed from its first event, and what a client's leave does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from taskstore.claims import Claim
from taskstore.records import Kind
from taskstore.steps import StepBatch, StepNote
from taskstore.store import TaskStore

from .conftest import StartGateway, TinyWorker
from .event_reader import Event, EventReader


@contextlib.asynccontextmanager
async def stream(client: httpx.AsyncClient, **body: Any) -> AsyncIterator[EventReader]:
    async with client.stream("POST", "/chat/stream", json={"message": "hi", **body}) as answer:
        if answer.status_code != 200:
            await answer.aread()
        assert answer.status_code == 200, answer.text
        yield EventReader(answer)


async def say(store: TaskStore, claim: Claim, first: int, *words: str) -> None:
    notes = [StepNote(word, 0.0, ("token", 1, "text")) for word in words]
    assert await store.step([(claim.task_id, claim.fence, StepBatch(first, notes))]) == ["ok"]


def texts(events: list[Event]) -> list[str]:
    return [event.data["text"] for event in events if event.name == "token"]


async def until_final(store: TaskStore, task_id: str) -> str:
    async with asyncio.timeout(20):
        while not (record := await store.get(task_id)).is_final:
            await asyncio.sleep(0.01)
    return record.status


async def test_the_first_event_names_the_task_and_words_come_as_they_are_said(
    client: httpx.AsyncClient, worker: TinyWorker, store: TaskStore
):
    async with asyncio.timeout(30), stream(client, session_id="s1", user_id="u1") as reader:
        assert reader.answer.headers["content-type"].startswith("text/event-stream")
        first = await anext(reader)
        task_id = first.data["task_id"]
        assert (first.name, first.data["status"]) == ("status", "pending")
        assert reader.answer.headers["location"] == f"/task/{task_id}"
        claim = await worker.take()
        assert (claim.task_id, claim.kind, claim.stream) == (task_id, Kind.INTERACTIVE, True)
        assert (await anext(reader)).data["status"] == "running"
        for number, word in enumerate(("Hel", "lo"), 1):
            await say(store, claim, number, word)
            token = await anext(reader)
            assert (token.name, token.data["text"], token.data["number"]) == ("token", word, 1)
        await worker.end("success", claim, result="Hello")
        *_, result = await reader.rest()
    assert (result.name, result.data["task_id"], result.data["result"]) == ("result", task_id, "Hello")


async def test_a_task_that_fails_ends_with_its_error_as_the_result(
    client: httpx.AsyncClient, worker: TinyWorker, store: TaskStore
):
    async with asyncio.timeout(30), stream(client) as reader:
        await anext(reader)
        await worker.end("fail", error="The model is away.", error_code="provider_unavailable")
        *_, result = await reader.rest()
    assert (result.name, result.data["status"]) == ("result", "failed")
    assert (result.data["error"], result.data["error_code"]) == ("The model is away.", "provider_unavailable")


async def test_it_outlasts_the_time_that_a_chat_waits(
    start_gateway: StartGateway, worker: TinyWorker, store: TaskStore
):
    gateway = start_gateway(chat_timeout_seconds=0.05)
    async with gateway.client() as client, asyncio.timeout(30):
        waited = await client.post("/chat", json={"message": "hi"})
        assert waited.status_code == 504
        await worker.end("success", result="late")
        async with stream(client) as reader:
            await anext(reader)
            await asyncio.sleep(0.2)  # four times as long as a chat would wait
            await worker.end("success", result="later")
            *_, result = await reader.rest()
    assert result.data["result"] == "later"


async def test_a_client_that_goes_away_leaves_its_task_and_can_come_back_to_it(
    client: httpx.AsyncClient, worker: TinyWorker, store: TaskStore
):
    async with asyncio.timeout(30):
        async with stream(client) as reader:
            task_id = (await anext(reader)).data["task_id"]
            claim = await worker.take()
            await say(store, claim, 1, "One")
            while (seen := await anext(reader)).name != "token":
                pass
        await say(store, claim, 2, " two")
        async with client.stream(
            "GET", f"/task/{task_id}/events", params={"tokens": "true"}, headers={"last-event-id": seen.id or ""}
        ) as answer:
            again = EventReader(answer)
            assert (await anext(again)).data["text"] == " two"
            # whatever a leave did, it has done by now: this came later and is served by the same process
            assert (await store.get(task_id)).cancel_requested_at is None
            await worker.end("success", claim, result="One two")
            *_, result = await again.rest()
    assert result.data["result"] == "One two"


@pytest.mark.parametrize("runs", [False, True])
async def test_a_client_that_goes_away_cancels_its_task_if_it_said_so(
    client: httpx.AsyncClient, worker: TinyWorker, store: TaskStore, runs: bool
):
    async with asyncio.timeout(30):
        async with stream(client, on_disconnect="cancel") as reader:
            task_id = (await anext(reader)).data["task_id"]
            claim = await worker.take() if runs else None
        if claim is None:
            assert await until_final(store, task_id) == "cancelled"
        else:
            while (await store.get(task_id)).cancel_requested_at is None:
                await asyncio.sleep(0.01)
            await worker.end("cancelled", claim)
            assert await until_final(store, task_id) == "cancelled"


async def test_a_client_that_stays_until_the_result_cancels_nothing(
    client: httpx.AsyncClient, worker: TinyWorker, store: TaskStore
):
    async with asyncio.timeout(30), stream(client, on_disconnect="cancel") as reader:
        task_id = (await anext(reader)).data["task_id"]
        await worker.end("success", result="done")
        await reader.rest()
    assert (await store.get(task_id)).status == "success"
    assert (await store.get(task_id)).cancel_requested_at is None


async def test_a_gateway_that_stops_cancels_nothing(start_gateway: StartGateway, store: TaskStore):
    gateway = start_gateway()
    async with gateway.client() as client, asyncio.timeout(30), stream(client, on_disconnect="cancel") as reader:
        task_id = (await anext(reader)).data["task_id"]
        await asyncio.to_thread(gateway.stop)
        assert await reader.rest() == []
    assert (await store.get(task_id)).status == "pending"


async def test_what_is_wrong_is_said_before_the_stream(client: httpx.AsyncClient, start_gateway: StartGateway):
    for body in ({"message": ""}, {"message": "hi", "on_disconnect": "stop"}, {"message": "hi", "model": "GPT-9"}):
        answer = await client.post("/chat/stream", json=body)
        assert answer.status_code == 422, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    async with start_gateway(queue_max_depth=1).client() as full:
        assert (await full.post("/task", json={"message": "hi"})).status_code == 200
        assert (await full.post("/chat/stream", json={"message": "hi"})).status_code == 429


async def test_the_same_key_and_body_stream_the_same_task_from_its_first_event(
    client: httpx.AsyncClient, worker: TinyWorker, store: TaskStore
):
    headers = {"idempotency-key": "once"}
    async with asyncio.timeout(30):
        async with client.stream("POST", "/chat/stream", json={"message": "hi"}, headers=headers) as answer:
            first = await anext(EventReader(answer))
        claim = await worker.take()
        await say(store, claim, 1, "One")
        await worker.end("success", claim, result="One")
        async with client.stream("POST", "/chat/stream", json={"message": "hi"}, headers=headers) as answer:
            again = await EventReader(answer).rest()
    assert again[0] == first
    assert texts(again) == ["One"]
    assert again[-1].data["result"] == "One"


async def test_a_queued_task_is_streamed_if_it_says_so(client: httpx.AsyncClient, worker: TinyWorker, store: TaskStore):
    for given, stream_it in (({}, False), ({"stream": False}, False), ({"stream": True}, True)):
        assert (await client.post("/task", json={"message": "hi", **given})).status_code == 200
        claim = await worker.take()
        assert (claim.stream, claim.kind) == (stream_it, Kind.BATCH)
        await worker.end("success", claim, result="x")
    chat = asyncio.create_task(client.post("/chat", json={"message": "hi"}))
    while (await store.overview()).queued == 0:
        await asyncio.sleep(0.005)
    claim = await worker.take()
    assert not claim.stream
    await worker.end("success", claim, result="x")
    assert (await chat).status_code == 200
    wrong = await client.post("/task", json={"message": "hi", "stream": "yes"})
    assert wrong.status_code == 422
