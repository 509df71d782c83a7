"""Watch tokens: one task's events for a browser, for a short time, and nothing else."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from gateway import watch_tokens
from taskstore.store import TaskStore

from .conftest import RunningGateway, StartGateway, TinyWorker, submitted
from .event_reader import all_events

KEYS = ",".join(f"{name}:{hashlib.sha256(name.encode()).hexdigest()}" for name in ("alice", "bob"))


@pytest.fixture
def keyed(start_gateway: StartGateway) -> RunningGateway:
    return start_gateway(api_keys=KEYS, active_model_key="Simulator")


@pytest.fixture
async def alice(keyed: RunningGateway) -> AsyncIterator[httpx.AsyncClient]:
    async with keyed.client("alice") as client:
        yield client


@pytest.fixture
async def browser(keyed: RunningGateway) -> AsyncIterator[httpx.AsyncClient]:
    """It has no key."""
    async with keyed.client() as client:
        yield client


async def token_for(client: httpx.AsyncClient, task_id: str) -> str:
    answer = await client.post(f"/task/{task_id}/watch-token")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["path"] == f"/task/{task_id}/events?watch_token={body['watch_token']}"
    return str(body["watch_token"])


async def ended(client: httpx.AsyncClient, worker: TinyWorker) -> str:
    task_id = await submitted(client)
    await worker.end("success", result="done")
    return task_id


async def test_a_browser_follows_one_task_with_it(
    alice: httpx.AsyncClient, browser: httpx.AsyncClient, worker: TinyWorker, start_gateway: StartGateway
):
    task_id = await ended(alice, worker)
    token = await token_for(alice, task_id)
    events = await all_events(browser, task_id, watch_token=token)
    assert [event.name for event in events] == ["status", "status", "status", "result"]
    assert await all_events(browser, task_id, events[0].id, watch_token=token) == events[1:]
    # every gateway of the deployment knows it
    async with start_gateway(api_keys=KEYS, active_model_key="Simulator").client() as elsewhere:
        assert await all_events(elsewhere, task_id, watch_token=token) == events


async def test_it_opens_nothing_else(alice: httpx.AsyncClient, browser: httpx.AsyncClient, worker: TinyWorker):
    task_id, other = [await ended(alice, worker) for _ in range(2)]
    token = {"watch_token": await token_for(alice, task_id)}
    refused = await browser.get(f"/task/{other}/events", params=token)
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
    missing = await browser.get(f"/task/{'f' * 32}/events", params=token)
    assert missing.content == refused.content, "which tasks there are is not told"
    for method, path in (
        ("GET", f"/task/{task_id}"), ("POST", f"/task/{task_id}/cancel"), ("POST", f"/task/{task_id}/watch-token"),
        ("GET", "/tasks"), ("POST", "/task"), ("GET", f"/task/{task_id}/events/"), ("GET", f"//task/{task_id}/events"),
    ):  # fmt: skip
        answer = await browser.request(method, path, params=token)
        assert answer.status_code == 401, path
    as_key = await browser.get(f"/task/{task_id}/events", headers={"authorization": f"Bearer {token['watch_token']}"})
    assert as_key.status_code == 401


async def test_only_who_may_see_the_task_gets_one(keyed: RunningGateway, alice: httpx.AsyncClient, worker: TinyWorker):
    task_id = await ended(alice, worker)
    async with keyed.client("bob") as bob:
        foreign = await bob.post(f"/task/{task_id}/watch-token")
        missing = await bob.post(f"/task/{'f' * 32}/watch-token")
        assert (foreign.status_code, foreign.content) == (404, missing.content)
        # a key that is no caller's is not mended by a token
        token = await token_for(alice, task_id)
        answer = await bob.get(f"/task/{task_id}/events", params={"watch_token": token})
        assert answer.status_code == 404, "the key that is sent is what counts"


async def test_a_forged_token_is_refused(alice: httpx.AsyncClient, browser: httpx.AsyncClient, worker: TinyWorker):
    task_id = await ended(alice, worker)
    token = await token_for(alice, task_id)
    _, expires, signature = token.split("_", 2)
    later = f"wt_{int(expires, 16) + 1000:x}_{signature}"
    flipped = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    answers = [
        await browser.get(f"/task/{task_id}/events", params={"watch_token": forged})
        for forged in (later, flipped, token[:-1], f"{token}A", "", "wt", "x" * 64, f"wt_{expires}_{'A' * 43}", "é")
    ]
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(401, "unauthorized")}
    assert len({answer.content for answer in answers}) == 1
    assert {answer.headers["www-authenticate"] for answer in answers} == {'Bearer realm="longhaul"'}


async def test_a_token_lets_in_for_its_time_only(
    start_gateway: StartGateway, worker: TinyWorker, monkeypatch: pytest.MonkeyPatch
):
    gateway = start_gateway(api_keys=KEYS, active_model_key="Simulator", watch_token_seconds=120)
    async with gateway.client("alice") as alice, gateway.client() as browser:
        task_id = await ended(alice, worker)
        token = await token_for(alice, task_id)
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 118)
        assert await all_events(browser, task_id, watch_token=token)
        monkeypatch.setattr(time, "time", lambda: now + 123)
        answer = await browser.get(f"/task/{task_id}/events", params={"watch_token": token})
        assert (answer.status_code, answer.json()["code"]) == (401, "watch_token_expired")
        assert f"POST /task/{task_id}/watch-token" in answer.json()["detail"]


async def test_a_stream_outlives_the_token_that_opened_it(
    start_gateway: StartGateway, worker: TinyWorker, monkeypatch: pytest.MonkeyPatch
):
    gateway = start_gateway(api_keys=KEYS, active_model_key="Simulator")
    async with gateway.client("alice") as alice, gateway.client() as browser, asyncio.timeout(20):
        task_id = await submitted(alice)
        token = await token_for(alice, task_id)
        watching = asyncio.create_task(all_events(browser, task_id, watch_token=token))
        while gateway.app.state.gateway.follower.watched == 0:
            await asyncio.sleep(0.01)
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 1000)
        await worker.end("success", result="done")
        assert (await watching)[-1].name == "result"


async def test_a_flushed_redis_makes_a_new_key_that_all_processes_learn(
    alice: httpx.AsyncClient, browser: httpx.AsyncClient, worker: TinyWorker, store: TaskStore,
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    monkeypatch.setattr(watch_tokens, "LOOK_AGAIN_S", 0.0)
    task_id = await ended(alice, worker)
    old = await token_for(alice, task_id)
    assert await all_events(browser, task_id, watch_token=old)
    assert await store.redis.delete(store.keys.watch_key()) == 1
    async with start_gateway(api_keys=KEYS, active_model_key="Simulator").client("alice") as elsewhere:
        new = await token_for(elsewhere, task_id)
    assert await all_events(browser, task_id, watch_token=new)
    refused = await browser.get(f"/task/{task_id}/events", params={"watch_token": old})
    assert refused.status_code == 401


async def test_without_keys_it_works_the_same(client: httpx.AsyncClient, worker: TinyWorker):
    """What is built on a laptop meets the same answers as in production."""
    task_id, other = [await ended(client, worker) for _ in range(2)]
    token = await token_for(client, task_id)
    assert await all_events(client, task_id, watch_token=token)
    refused = await client.get(f"/task/{other}/events", params={"watch_token": token})
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
