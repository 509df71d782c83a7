"""Sessions over HTTP: who meets whom in one, which there are, what they remember, and deleting them."""

import hashlib
from typing import Any

import httpx
import pytest

from .conftest import RunningGateway, StartGateway, TinyWorker, submitted

KEYS = {"alice": "ak_alice", "bob": "ak_bob", "carol": "ak_carol"}


@pytest.fixture
def guarded(start_gateway: StartGateway) -> RunningGateway:
    """With keys; Carol's is an admin's."""
    entries = [f"{name}:{hashlib.sha256(key.encode()).hexdigest()}" for name, key in KEYS.items()]
    return start_gateway(api_keys=",".join([*entries[:2], f"{entries[2]}:admin"]), active_model_key="Simulator")


async def get(client: httpx.AsyncClient, path: str, **query: Any) -> dict[str, Any]:
    found = await client.get(path, params=query)
    assert found.status_code == 200, found.text
    body: dict[str, Any] = found.json()
    return body


async def test_a_busy_session_refuses_when_it_is_told_to(client: httpx.AsyncClient, worker: TinyWorker) -> None:
    first = await submitted(client, session_id="s")
    body = {"message": "m", "session_id": "s", "on_busy_session": "reject"}
    for path in ("/task", "/chat"):
        refused = await client.post(path, json=body)
        problem = refused.json()
        assert (refused.status_code, problem["code"], problem["busy_task_id"]) == (409, "session_busy", first)
        assert int(refused.headers["retry-after"]) > 0
    await worker.end("success", result="x")
    assert (await client.post("/task", json=body)).status_code == 200


async def test_an_interrupt_cancels_the_task_that_has_the_session(
    client: httpx.AsyncClient, worker: TinyWorker
) -> None:
    first = await submitted(client, session_id="s")
    queued = await submitted(client, session_id="s")
    running = await worker.take()
    interrupting = await submitted(client, session_id="s", on_busy_session="interrupt")
    await worker.end("cancelled", running, partial="half")
    task = await get(client, f"/task/{first}")
    assert (task["status"], task["error_code"], task["interrupted_by"]) == ("cancelled", "cancelled", interrupting)
    assert interrupting in task["error"]
    assert task["partial"] == "half"
    assert [(await worker.end("success")).task_id for _ in range(2)] == [interrupting, queued]
    assert (await get(client, "/session/s"))["session"]["turns"] == 2


async def test_what_happens_to_a_busy_session_cannot_be_decided_for_later(client: httpx.AsyncClient) -> None:
    body = {"message": "m", "session_id": "s", "run_at": "2099-01-01T00:00:00Z"}
    assert (await client.post("/task", json={**body, "on_busy_session": "enqueue"})).status_code == 200
    for choice in ("reject", "interrupt"):
        refused = await client.post("/task", json={**body, "on_busy_session": choice})
        assert (refused.status_code, refused.json()["errors"][0]["type"]) == (422, "decided_before_run")


async def test_a_session_shows_its_turns_and_who_has_it(client: httpx.AsyncClient, worker: TinyWorker) -> None:
    first = await submitted(client, session_id="s", user_id="u", message="What is 6 * 7?")
    await worker.end("success", result="42")
    found = await get(client, "/session/s", user_id="u")
    (turn,) = found["turns"]
    assert (turn["task_id"], turn["message"], turn["answer"]) == (first, "What is 6 * 7?", "42")
    assert found["truncated"] is False
    assert found["session"]["busy_task_id"] is None
    assert found["session"]["expires_at"] > turn["at"] == found["session"]["updated_at"]
    second = await submitted(client, session_id="s", user_id="u")
    await submitted(client, session_id="s", user_id="u")
    about = (await get(client, "/session/s", user_id="u"))["session"]
    assert (about["busy_task_id"], about["waiting"], about["expires_at"]) == (second, 1, None)
    assert (await get(client, "/sessions"))["sessions"] == [about]


async def test_sessions_come_page_by_page(client: httpx.AsyncClient) -> None:
    for number in range(5):
        await submitted(client, session_id=f"s{number}", user_id="u" if number == 1 else None)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await get(client, "/sessions", limit=2, **cursor)
        seen += [one["session_id"] for one in page["sessions"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert sorted(seen) == [f"s{number}" for number in range(5)]
    assert [one["session_id"] for one in (await get(client, "/sessions", user_id="u"))["sessions"]] == ["s1"]
    assert (await client.get("/sessions", params={"cursor": "made-up"})).status_code == 422


async def test_a_deleted_session_is_gone_and_its_running_task_leaves_no_turn(
    client: httpx.AsyncClient, worker: TinyWorker
) -> None:
    await submitted(client, session_id="s")
    await worker.end("success", result="x")
    task_id = await submitted(client, session_id="s")
    running = await worker.take()
    answers = [(await client.delete("/session/s")).json() for _ in range(2)]
    assert answers == [
        {"session_id": "s", "user_id": None, "deleted": True, "turns": 1},
        {"session_id": "s", "user_id": None, "deleted": False, "turns": 0},
    ]
    await worker.end("success", running, result="still said")
    assert (await get(client, f"/task/{task_id}"))["result"] == "still said", "the task itself ends as any other"
    missing = await client.get("/session/s")
    assert (missing.status_code, missing.json()["code"]) == (404, "session_not_found")
    assert (await get(client, "/sessions"))["sessions"] == []


@pytest.mark.parametrize("name", ["a/b", "a b", "ünïcode 会话", "?x=1", "%2F", "s#1", "tasks", ".x"])
async def test_a_session_may_have_any_name(name: str, client: httpx.AsyncClient) -> None:
    await submitted(client, session_id=name)
    url = client.base_url.copy_with(raw_path=b"/session/" + _quoted(name))
    assert (await client.get(url)).json()["session"]["session_id"] == name
    assert (await client.delete(url)).json()["deleted"] is True


def _quoted(name: str) -> bytes:
    return "".join(f"%{byte:02X}" for byte in name.encode()).encode()


async def test_a_session_is_its_callers_and_an_admin_names_whose(guarded: RunningGateway) -> None:
    async with (
        guarded.client(KEYS["alice"]) as alice,
        guarded.client(KEYS["bob"]) as bob,
        guarded.client(KEYS["carol"]) as carol,
    ):
        await submitted(alice, session_id="s", user_id="u")
        named = {"user_id": "u", "caller": "alice"}
        missing = await bob.get("/session/never", params={"user_id": "u"})
        for query in ({"user_id": "u"}, named):
            another = await bob.get("/session/s", params=query)
            assert (another.status_code, another.json()) == (404, missing.json())
            assert (await bob.delete("/session/s", params=query)).json()["deleted"] is False
        assert (await get(bob, "/sessions"))["sessions"] == []
        assert (await get(bob, "/sessions", caller="alice"))["sessions"] == []
        assert (await get(carol, "/sessions"))["sessions"] == [], "her own"
        assert (await carol.get("/session/s", params={"user_id": "u"})).status_code == 404
        (shown,) = (await get(carol, "/sessions", caller="alice"))["sessions"]
        assert (await get(alice, "/session/s", user_id="u"))["session"] == shown
        assert (await carol.delete("/session/s", params=named)).json()["deleted"] is True
        assert (await alice.get("/session/s", params={"user_id": "u"})).status_code == 404
