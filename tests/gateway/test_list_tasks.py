"""GET /tasks, and the steps of GET /task/{id}, over HTTP."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from taskstore.steps import StepBatch, StepNote
from taskstore.store import TaskStore

from .conftest import RunningGateway, StartGateway, TinyWorker, submitted
from .test_auth import ALICE, BOB, KEYED, ROOT, alike


async def listed(client: httpx.AsyncClient, **query: Any) -> list[str]:
    answer = await client.get("/tasks", params=query)
    assert answer.status_code == 200, answer.text
    return [task["task_id"] for task in answer.json()["tasks"]]


SUMMARY = {
    "task_id", "caller", "status", "phase", "message", "error_code", "duration_ms", "queued_ms", "token_usage",
    "cost_usd", "created_at", "started_at", "completed_at", "model", "agent", "attempt", "session_id", "user_id",
    "metadata", "simulated",
}  # fmt: skip


async def test_a_list_shows_the_newest_first_and_pages_on(client: httpx.AsyncClient):
    assert (await client.get("/tasks")).json() == {"tasks": [], "next_cursor": None, "stopped_early": False}
    ids = [await submitted(client, message=f"number {number}") for number in range(5)]
    pages, created, cursor = [], [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        body = (await client.get("/tasks", params=query)).json()
        pages.append([task["task_id"] for task in body["tasks"]])
        created += [task["created_at"] for task in body["tasks"]]
        assert all(set(task) == SUMMARY for task in body["tasks"])
        cursor = body["next_cursor"]
        if cursor is None:
            break
    assert [len(page) for page in pages] == [2, 2, 1]
    assert sorted(one for page in pages for one in page) == sorted(ids)
    assert created == sorted(created, reverse=True)


async def test_each_filter_reaches_the_store(client: httpx.AsyncClient, worker: TinyWorker):
    fields = {"session_id": "s1", "user_id": "u1", "metadata": {"order": 7, "kind": "a=b"}}
    first = await submitted(client, **fields)
    await worker.end("retry", error="busy", error_code="provider_unavailable", delay_ms=60_000)
    other = await submitted(client, user_id="u2")
    await worker.end("success", result="x")
    assert await listed(client, session_id="s1") == [first]
    assert await listed(client, user_id="u2") == [other]
    assert await listed(client, metadata=["order=7", "kind=a=b"]) == [first]
    assert await listed(client, metadata=["order=7", "kind=b"]) == []
    assert await listed(client, status="pending") == [first], "a retry is pending on the wire"
    assert await listed(client, status="success") == [other]
    assert set(await listed(client, status=["pending", "success"])) == {first, other}
    assert set(await listed(client, model="Simulator", agent="default")) == {first, other}
    assert await listed(client, model="Other") == []
    now = datetime.now(UTC)
    assert set(await listed(client, since=(now - timedelta(minutes=5)).isoformat())) == {first, other}
    assert await listed(client, until=(now - timedelta(minutes=5)).isoformat()) == []
    body = (await client.get("/tasks", params={"user_id": "u1"})).json()
    assert (body["tasks"][0]["status"], body["tasks"][0]["phase"]) == ("pending", "retrying")


async def test_a_long_message_is_shown_by_its_beginning(client: httpx.AsyncClient):
    await submitted(client, message="ü" * 5000)
    (task,) = (await client.get("/tasks")).json()["tasks"]
    assert task["message"] == "ü" * 199 + "…"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"statsu": "failed"}, "did you mean 'status'?"),
    ({"status": "retrying"}, "status"),
    ({"limit": 0}, "limit"),
    ({"limit": 101}, "limit"),
    ({"limit": "many"}, "limit"),
    ({"since": "yesterday"}, "ISO 8601"),
    ({"until": "2026-01-01T00:00:00"}, "ISO 8601"),
    ({"metadata": "order"}, "key=value"),
    ({"metadata": "=7"}, "key=value"),
    ({"metadata": ["a=1", "a=2"]}, "twice"),
    ({"metadata": [f"{n}=1" for n in range(11)]}, "10"),
    ({"cursor": "abc"}, "next_cursor"),
    ({"cursor": ""}, "next_cursor"),
    ({"user_id": "a\nb"}, "control character"),
    ({"session_id": "x" * 201}, "200"),
]


@pytest.mark.parametrize(("query", "said"), WRONG)
async def test_what_cannot_be_asked_is_a_422_that_says_why(client: httpx.AsyncClient, query: dict[str, Any], said: str):
    answer = await client.get("/tasks", params=query)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert said in answer.json()["detail"]


@pytest.fixture
def keyed(start_gateway: StartGateway) -> RunningGateway:
    return start_gateway(**KEYED)


async def test_anothers_tasks_are_never_in_a_list(keyed: RunningGateway):
    async with keyed.client(ALICE) as alice, keyed.client(BOB) as bob, keyed.client() as nobody:
        hers = await submitted(alice, user_id="u", session_id="s", metadata={"k": "v"})
        nothing = await bob.get("/tasks")
        assert nothing.json()["tasks"] == []
        assert (await nobody.get("/tasks")).status_code == 401
        page = (await alice.get("/tasks", params={"limit": 1})).json()
        assert [task["task_id"] for task in page["tasks"]] == [hers]
        # named, guessed by what she wrote, or by a cursor of hers: the same as of a caller who does not exist
        guesses = ("caller=alice", "caller=no-such", "caller=*", "caller=bob", "user_id=u", "session_id=s")
        for query in (*guesses, "metadata=k%3Dv"):
            assert alike(await bob.get(f"/tasks?{query}")) == alike(nothing), query
        more = await submitted(alice)
        cursor = (await alice.get("/tasks", params={"limit": 1})).json()["next_cursor"]
        assert cursor is not None
        assert alike(await bob.get("/tasks", params={"cursor": cursor})) == alike(nothing)
        assert set(await listed(alice, caller="alice")) == {hers, more}


async def test_an_admin_lists_every_caller_or_one(keyed: RunningGateway):
    async with keyed.client(ALICE) as alice, keyed.client(BOB) as bob, keyed.client(ROOT) as root:
        hers, his, own = await submitted(alice), await submitted(bob), await submitted(root)
        assert set(await listed(root)) == {hers, his, own}
        assert await listed(root, caller="bob") == [his]
        assert await listed(root, caller="no-such") == []
        body = (await root.get("/tasks", params={"caller": "alice"})).json()
        assert body["tasks"][0]["caller"] == "alice"


async def test_a_task_shows_its_steps_so_far(client: httpx.AsyncClient, store: TaskStore, worker: TinyWorker):
    task_id = await submitted(client)
    assert (await client.get(f"/task/{task_id}")).json()["steps"] == []
    claim = await worker.take()
    usage = '"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}'
    texts = [
        '{"kind":"model","phase":"start","number":1,"name":"Simulator"}',
        f'{{"kind":"model","phase":"end","number":1,"name":"Simulator","duration_ms":40,"cost_usd":0.5,{usage}}}',
        '{"kind":"tool","phase":"start","number":2,"name":"calculator","arguments":"{}"}',
    ]
    notes = tuple(StepNote(text, time.monotonic()) for text in texts)
    assert await store.step([(task_id, claim.fence, StepBatch(1, (*notes, 2)))]) == ["ok"]
    view = (await client.get(f"/task/{task_id}")).json()
    model, tool = view["steps"]
    assert model["token_usage"] | {"total_tokens": 7, "prompt_tokens": 3} == model["token_usage"]
    assert {name: model[name] for name in model if name not in {"token_usage", "started_at"}} == {
        "attempt": 1, "number": 1, "kind": "model", "name": "Simulator", "state": "done", "duration_ms": 40,
        "arguments": None, "result": None, "error": None, "cost_usd": 0.5,
    }  # fmt: skip
    assert datetime.fromisoformat(model["started_at"]).utcoffset() == timedelta(0)
    assert (tool["name"], tool["state"], tool["duration_ms"], tool["cost_usd"]) == ("calculator", "running", None, None)
    assert view["steps_dropped"] == 2
    await worker.end("success", claim, result="42")
    waited = (await client.get(f"/task/{task_id}", params={"wait": 5})).json()
    assert (waited["status"], waited["steps"][1]["state"]) == ("success", "unfinished")
