"""Every route of the app, asked by everybody: what is another's and what is missing are one answer, byte for byte.

The routes come from the app itself: a new one fails here until it has a row.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from core_config import Settings
from gateway.app import create_app
from gateway.guard import OPEN
from taskstore.claims import Settlement
from taskstore.connection import connect
from taskstore.records import NewTask
from taskstore.store import TaskStore

from .conftest import ALICE, API_KEYS, BOB, CAROL, Deployment

WRONG = f"{ALICE}x"
BAD_IDS = ("nonsense", "F" * 32, "f" * 31, "f" * 33, "%00", f"{'f' * 32}%0a", f"%20{'f' * 32}", "%F0%9F%98%80", "*")
DIFFERS = {"date", "x-request-id"}


@dataclass(frozen=True)
class Row:
    """How a route is called so that it answers 200 to who may."""

    options: Mapping[str, Any] = field(default_factory=dict)
    query: str = ""
    admin: bool = False
    """Only admins may: to all others every id is one refusal."""
    endless: bool = False
    """Its 200 goes on while the task does: only its beginning is read."""


ROWS = {
    "POST /task": Row({"json": {"message": "m"}}),
    "GET /task/{task_id}": Row(query="?wait=0.05"),
    "GET /task/{task_id}/events": Row(endless=True),
    "POST /task/{task_id}/watch-token": Row(),
    "POST /task/{task_id}/cancel": Row(),
    "POST /task/{task_id}/replay": Row({"json": {"model": "Simulator"}}, admin=True),
    "GET /tasks": Row(),
    "GET /sessions": Row(),
    "GET /session/{session_id}": Row(query="?user_id=u"),
    "DELETE /session/{session_id}": Row(query="?user_id=u"),
    "POST /chat": Row({"json": {"message": "m"}}),
    "POST /chat/stream": Row({"json": {"message": "m"}}),
    "GET /models": Row(),
    "GET /agents": Row(),
    "GET /health": Row(),
    "GET /healthz": Row(),
    "GET /ready": Row(query="?accepting=true"),
    "GET /readiness": Row(),
    "GET /metrics": Row(),
    "GET /openapi.json": Row(),
    "HEAD /openapi.json": Row(),
}
OF_A_TASK = [name for name in ROWS if "{task_id}" in name and not ROWS[name].admin]
OF_A_SESSION = [name for name in ROWS if "{session_id}" in name]
OF_ADMINS = [name for name in ROWS if ROWS[name].admin]
OF_NO_TASK = [name for name in ROWS if "{" not in name]


@pytest.fixture(scope="module")
def alice(deployment: Deployment) -> Iterator[httpx.Client]:
    with deployment.client(ALICE) as client:
        yield client


@pytest.fixture(scope="module")
def bob(deployment: Deployment) -> Iterator[httpx.Client]:
    with deployment.client(BOB) as client:
        yield client


@pytest.fixture(scope="module")
def admin(deployment: Deployment) -> Iterator[httpx.Client]:
    with deployment.client(CAROL) as client:
        yield client


@pytest.fixture(scope="module")
def strangers(deployment: Deployment) -> Iterator[list[httpx.Client]]:
    """Without a key, and with a wrong one."""
    with deployment.client(None) as none, deployment.client(WRONG) as wrong:
        yield [none, wrong]


@pytest.fixture
def hers(alice: httpx.Client) -> str:
    """A task of Alice's that waits for its time."""
    body = {"message": "hers", "run_at": "2099-01-01T00:00:00Z", "session_id": "s", "user_id": "u"}
    return str(alice.post("/task", json=body).raise_for_status().json()["task_id"])


@pytest.fixture
def failed(deployment: Deployment) -> str:
    """A task of Alice's that failed, of a model that nobody else runs."""
    task_id = secrets.token_hex(16)

    async def submit_and_fail(store: TaskStore) -> None:
        await store.submit(
            NewTask(task_id=task_id, caller="alice", message="m", model=task_id, idempotency_key=task_id[:8])
        )
        (claim,) = (await store.claim(task_id, 1, room=1, extra=0, models={task_id: None})).tasks
        settlement = Settlement(task_id=task_id, fence=claim.fence, kind="bury", error="why", error_code="internal")
        assert await store.settle([settlement]) == ["ok"]

    in_store(deployment, submit_and_fail)
    return task_id


def in_store(deployment: Deployment, act: Callable[[TaskStore], Awaitable[None]]) -> None:
    settings = Settings(redis_url=deployment.redis_url, key_prefix=deployment.prefix)

    async def run() -> None:
        async with connect(settings.redis_address) as client:
            await act(TaskStore(client, settings))

    asyncio.run(run())


def forgotten_by_redis(deployment: Deployment, task_id: str) -> None:
    """Its times to live are over, before any sweep came: what names it in the indices is still there."""

    async def expire(store: TaskStore) -> None:
        keys = (store.keys.task(task_id), store.keys.events(task_id), store.keys.idempotency("alice", task_id[:8]))
        for key in keys:
            assert await store.redis.pexpire(key, 1) == 1
        await until_gone(store, *keys)

    in_store(deployment, expire)


def forgotten_by_the_sweep(deployment: Deployment, task_id: str) -> None:
    """Its retention is over, and the worker's next sweep finds it."""

    async def expire(store: TaskStore) -> None:
        assert await store.redis.zadd(store.keys.gone(), {f"{task_id} alice": 1}, xx=True, ch=True) == 1
        await until_gone(store, store.keys.task(task_id), store.keys.events(task_id))

    in_store(deployment, expire)


async def until_gone(store: TaskStore, *keys: str) -> None:
    async with asyncio.timeout(20):
        while await store.redis.exists(*keys):
            await asyncio.sleep(0.02)


FORGOTTEN = {"by Redis": forgotten_by_redis, "by the sweep": forgotten_by_the_sweep}


def ask(client: httpx.Client, name: str, one: str = "") -> httpx.Response:
    """Of the task or the session `one`."""
    method, path = name.split(" ")
    row = ROWS[name]
    url = path.replace("{task_id}", one).replace("{session_id}", one) + row.query
    with client.stream(method, url, **row.options) as answer:
        if not (row.endless and answer.status_code == 200):
            answer.read()
        return answer


def alike(answer: httpx.Response) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    """All of an answer but the time and the request's own id."""
    kept = [pair for pair in answer.headers.raw if pair[0].lower().decode() not in DIFFERS]
    return answer.status_code, answer.content, kept


def test_every_route_has_a_row() -> None:
    app: FastAPI = create_app(Settings(api_keys=API_KEYS, active_model_key="Simulator"))
    routes: Any = app.routes
    assert {
        f"{method} {getattr(route, 'path_format', route.path)}" for route in routes for method in route.methods
    } == set(ROWS)


@pytest.mark.parametrize("name", OF_A_TASK)
def test_anothers_task_is_a_missing_one_byte_for_byte(
    name: str, hers: str, alice: httpx.Client, bob: httpx.Client, admin: httpx.Client, strangers: list[httpx.Client]
) -> None:
    missing = ask(bob, name, secrets.token_hex(16))
    assert (missing.status_code, missing.json()["code"]) == (404, "task_not_found")
    before = ask(alice, "GET /task/{task_id}", hers).json()

    assert alike(ask(bob, name, hers)) == alike(missing)
    for client in (alice, bob, admin):
        assert alike(ask(client, name, secrets.token_hex(16))) == alike(missing)
        for bad in BAD_IDS:
            assert alike(ask(client, name, bad)) == alike(missing), bad
    (refused, *others) = [ask(client, name, some) for client in strangers for some in (hers, "f" * 32, "nonsense")]
    assert refused.status_code == 401
    assert all(alike(other) == alike(refused) for other in others)

    assert ask(alice, "GET /task/{task_id}", hers).json() == before, "nothing of it was touched"
    assert ask(alice, name, hers).status_code == 200
    assert ask(admin, name, hers).status_code == 200


@pytest.mark.parametrize("name", OF_ADMINS)
def test_what_admins_may_refuses_all_others_alike_whatever_the_id(
    name: str, failed: str, alice: httpx.Client, bob: httpx.Client, admin: httpx.Client, strangers: list[httpx.Client]
) -> None:
    before = ask(alice, "GET /task/{task_id}", failed).json()
    ids = (failed, secrets.token_hex(16), *BAD_IDS)
    (refused, *others) = [ask(client, name, one) for client in (alice, bob) for one in ids]
    assert (refused.status_code, refused.json()["code"]) == (403, "admin_only")
    assert all(alike(other) == alike(refused) for other in others)
    assert {ask(client, name, one).status_code for client in strangers for one in ids} == {401}

    missing = alike(ask(bob, "GET /task/{task_id}", secrets.token_hex(16)))
    assert all(alike(ask(admin, name, one)) == missing for one in ids[1:])
    assert ask(alice, "GET /task/{task_id}", failed).json() == before, "nothing of it was touched"
    assert ask(admin, name, failed).status_code == 200
    assert ask(alice, "GET /task/{task_id}", failed).json() != before


@pytest.mark.parametrize("name", OF_A_TASK + OF_ADMINS)
@pytest.mark.parametrize("how", FORGOTTEN)
def test_a_task_past_its_retention_is_a_missing_one_byte_for_byte(
    name: str, how: str, deployment: Deployment, failed: str, alice: httpx.Client, bob: httpx.Client,
    admin: httpx.Client,
) -> None:  # fmt: skip
    clients = [alice, bob, admin]
    assert [ask(client, "GET /task/{task_id}", failed).status_code for client in clients] == [200, 404, 200]
    FORGOTTEN[how](deployment, failed)
    for client in clients:
        missing = ask(client, name, secrets.token_hex(16))
        assert missing.status_code == (403 if ROWS[name].admin and client is not admin else 404)
        assert alike(ask(client, name, failed)) == alike(missing)
    assert failed not in alice.get("/tasks").text
    again = alice.post("/task", json={"message": "other"}, headers={"idempotency-key": failed[:8]})
    assert again.status_code == 200, "its key went with it"
    assert again.json()["task_id"] != failed


@pytest.mark.parametrize("name", OF_A_SESSION)
def test_anothers_session_is_a_missing_one_byte_for_byte(
    name: str, hers: str, alice: httpx.Client, bob: httpx.Client, admin: httpx.Client, strangers: list[httpx.Client]
) -> None:
    """An admin has to name whose it is."""
    read = "GET /session/{session_id}"
    assert ask(alice, read, "s").json()["session"]["busy_task_id"] is None, "the task is for later"
    for client in (bob, admin):
        missing = ask(client, name, "qwzz")
        assert missing.status_code == (404 if name == read else 200)
        assert alike(ask(client, name, "s"))[:2] == (missing.status_code, missing.content.replace(b"qwzz", b"s"))
        assert hers not in ask(client, name, "s").text
    assert {ask(stranger, name, "s").status_code for stranger in strangers} == {401}
    assert ask(alice, read, "s").status_code == 200, "nothing of it was touched"
    assert ask(alice, name, "s").status_code == 200


@pytest.mark.parametrize("name", OF_NO_TASK)
def test_what_is_of_no_task_tells_nobody_of_anothers(
    name: str, hers: str, alice: httpx.Client, bob: httpx.Client, admin: httpx.Client, strangers: list[httpx.Client]
) -> None:
    assert [ask(client, name).status_code for client in (alice, bob, admin)] == [200, 200, 200]
    assert hers not in ask(bob, name).text
    assert {ask(client, name).status_code for client in strangers} == {200 if name.split(" ")[1] in OPEN else 401}


def test_every_door_is_shut_the_same_way(strangers: list[httpx.Client]) -> None:
    """Also of what is no route: who has no key does not learn which there are."""
    shut = [name for name in ROWS if name.split(" ")[1] not in OPEN and not name.startswith("HEAD")]
    answers = [ask(client, name, "f" * 32) for client in strangers for name in shut]
    for client in strangers:
        answers += [client.get("/no-such-route"), client.put("/task"), client.post("/task", content=b"x" * 300_000)]
    assert len({str(alike(answer)) for answer in answers}) == 1


def test_no_key_of_ones_own_makes_anothers_task_ones_own(alice: httpx.Client, bob: httpx.Client) -> None:
    """Idempotency keys and sessions are each caller's: the same names meet nothing of another's."""
    body = {"message": "mine", "session_id": "shared", "user_id": "u", "run_at": "2099-01-01T00:00:00Z"}
    header = {"idempotency-key": secrets.token_hex(4)}
    ids = [client.post("/task", json=body, headers=header).json()["task_id"] for client in (alice, bob, alice, bob)]
    assert ids[0] == ids[2] != ids[1] == ids[3]
    assert bob.get(f"/task/{ids[0]}").status_code == 404
