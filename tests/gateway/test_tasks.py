"""Submit, read, wait, cancel: what a client of the API sees, against a real store."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import redis

from core_config import Settings
from taskstore.records import Kind, TokenUsage
from taskstore.store import TaskStore

from .conftest import RunningGateway, StartGateway, TinyWorker, submitted

VIEW = {
    "task_id", "status", "phase", "result", "error", "error_code", "duration_ms", "queued_ms", "token_usage",
    "cost_usd", "created_at", "started_at", "completed_at", "cancel_requested_at", "run_at", "deadline_at", "model",
    "agent", "interrupted_by", "priority", "attempt", "queue_position", "session_id", "user_id", "metadata", "partial",
    "simulated", "steps", "steps_dropped", "input", "output_schema", "result_json", "eta_s", "trace_url",
}  # fmt: skip


async def test_a_submit_answers_what_the_tutorials_clients_read(client: httpx.AsyncClient, store: TaskStore):
    answer = await client.post("/task", json={"message": "Compute 6 * 7", "session_id": "default", "user_id": "u1"})
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"task_id", "status", "created_at"}
    assert body["status"] == "pending"
    assert datetime.fromisoformat(body["created_at"]).utcoffset() == timedelta(0)
    assert answer.headers["location"] == f"/task/{body['task_id']}"
    task = await store.get(body["task_id"])
    assert (task.message, task.user_id, task.model, task.kind) == ("Compute 6 * 7", "u1", "Simulator", Kind.BATCH)
    assert (task.caller, task.agent, task.priority, task.deadline_at) == ("local", "default", 5, None)


async def test_every_field_reaches_the_record_and_comes_back(client: httpx.AsyncClient, store: TaskStore):
    run_at = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    metadata = {"order": 7, "nested": {"list": [1, None, "ü"]}}
    task_id = await submitted(
        client,
        message="später 你好",
        session_id="s1",
        user_id="u1",
        model="Simulator",
        agent="default",
        priority=9,
        deadline_s=7200.5,
        run_at=run_at.isoformat(),
        metadata=metadata,
    )
    view = (await client.get(f"/task/{task_id}")).json()
    task = await store.get(task_id)
    assert task.message == "später 你好"
    assert view["metadata"] == metadata
    assert (view["priority"], view["session_id"], view["user_id"], view["agent"]) == (9, "s1", "u1", "default")
    assert datetime.fromisoformat(view["run_at"]) == run_at
    assert task.deadline_at is not None
    assert task.deadline_at - task.created_at == timedelta(seconds=7200.5)


async def test_a_view_holds_exactly_its_fields_from_first_to_last(client: httpx.AsyncClient, worker: TinyWorker):
    task_id = await submitted(client)
    waiting = await client.get(f"/task/{task_id}")
    assert set(waiting.json()) == VIEW
    assert waiting.headers["retry-after"] == "1"
    assert waiting.json()["queue_position"] == 0
    assert waiting.json()["simulated"] is True, "said before there is an answer"
    claim = await worker.take()
    assert (await client.get(f"/task/{task_id}")).json()["status"] == "running"
    usage = TokenUsage(prompt_tokens=3, completion_tokens=4, total_tokens=7)
    await worker.end("success", claim, result="42", usage=usage, cost_usd=0.25, simulated=True)
    answer = await client.get(f"/task/{task_id}")
    view = answer.json()
    assert set(view) == VIEW
    assert "retry-after" not in answer.headers
    assert (view["status"], view["result"], view["error"], view["attempt"]) == ("success", "42", None, 1)
    assert view["token_usage"] == usage.as_dict()
    assert view["cost_usd"] == 0.25
    assert view["simulated"] is True
    assert view["duration_ms"] >= 0
    assert view["queued_ms"] >= 0
    for name in ("created_at", "started_at", "completed_at"):
        assert datetime.fromisoformat(view[name]).utcoffset() == timedelta(0)


async def test_a_retry_is_pending_to_clients_that_know_four_statuses(client: httpx.AsyncClient, worker: TinyWorker):
    task_id = await submitted(client)
    await worker.end("retry", error="the provider was busy", error_code="provider_unavailable", delay_ms=60_000)
    view = (await client.get(f"/task/{task_id}")).json()
    assert (view["status"], view["phase"]) == ("pending", "retrying")


async def test_a_wait_ends_with_the_task(client: httpx.AsyncClient, worker: TinyWorker):
    task_id = await submitted(client)
    claim = await worker.take()
    wait = asyncio.create_task(client.get(f"/task/{task_id}", params={"wait": 20}))
    await asyncio.sleep(0)
    await worker.end("fail", claim, error="No such model.", error_code="model_unavailable")
    view = (await asyncio.wait_for(wait, 10)).json()
    assert (view["status"], view["error"], view["error_code"]) == ("failed", "No such model.", "model_unavailable")


async def test_a_wait_that_is_too_short_answers_with_what_there_is(client: httpx.AsyncClient):
    task_id = await submitted(client)
    answer = await client.get(f"/task/{task_id}", params={"wait": 0.2})
    assert (answer.status_code, answer.json()["status"]) == (200, "pending")


async def test_a_shutdown_lets_waiting_calls_answer(start_gateway: StartGateway, store: TaskStore):
    gateway = start_gateway()
    async with gateway.client() as client:
        task_id = await submitted(client)
        wait = asyncio.create_task(client.get(f"/task/{task_id}", params={"wait": 60}))
        chat = asyncio.create_task(client.post("/chat", json={"message": "hello"}))
        while (await store.overview()).queued < 2:
            await asyncio.sleep(0.01)
        gateway.begin_stop()
        waited, chatted = await asyncio.wait_for(asyncio.gather(wait, chat), 8)
    assert (waited.status_code, waited.json()["status"]) == (200, "pending")
    assert (chatted.status_code, chatted.json()["code"]) == (503, "shutting_down")
    assert (await store.get(chatted.json()["task_id"])).message == "hello", "the task goes on"


async def test_a_queued_task_is_cancelled_at_once(client: httpx.AsyncClient):
    task_id = await submitted(client)
    for _ in range(2):  # asking twice changes nothing
        answer = await client.post(f"/task/{task_id}/cancel")
        assert (answer.status_code, answer.json()) == (200, {"task_id": task_id, "status": "cancelled"})
    assert (await client.get(f"/task/{task_id}")).json()["status"] == "cancelled"


async def test_a_running_task_is_asked_to_stop(client: httpx.AsyncClient, worker: TinyWorker):
    task_id = await submitted(client)
    claim = await worker.take()
    assert (await client.post(f"/task/{task_id}/cancel")).json() == {"task_id": task_id, "status": "running"}
    view = (await client.get(f"/task/{task_id}")).json()
    assert view["status"] == "running"
    assert view["cancel_requested_at"] is not None
    await worker.end("cancelled", claim)
    assert (await client.get(f"/task/{task_id}")).json()["status"] == "cancelled"


async def test_a_final_task_cannot_be_cancelled(client: httpx.AsyncClient, worker: TinyWorker):
    task_id = await submitted(client)
    await worker.end("success", result="done")
    before = (await client.get(f"/task/{task_id}")).content
    answer = await client.post(f"/task/{task_id}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_status")
    assert answer.json()["task_status"] == "success"
    assert (await client.get(f"/task/{task_id}")).content == before


async def test_a_submit_is_one_round_trip(client: httpx.AsyncClient, settings: Settings):
    await submitted(client)  # the first one also loads the script
    with (
        redis.Redis.from_url(settings.redis_address, lib_name=None, lib_version=None) as server,
        server.monitor() as monitor,
    ):
        await submitted(client)
        server.echo("the end")
        seen: list[dict[str, Any]] = []
        for command in monitor.listen():
            if command["command"].startswith("ECHO"):
                break
            seen.append(command)
    assert [one["command"].split()[0] for one in seen if one["client_type"] != "lua"] == ["EVALSHA"]


async def test_an_idempotency_key_makes_one_task(client: httpx.AsyncClient, store: TaskStore):
    key = {"idempotency-key": "order-1", "content-type": "application/json"}
    answers = await asyncio.gather(
        *(client.post("/task", headers=key, json={"message": "once", "priority": 7}) for _ in range(20)),
        client.post("/task", headers=key, content=b'{ "priority": 7, "message": "once" }'),
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["task_id"] for answer in answers}) == 1
    assert (await store.overview()).queued == 1


@pytest.mark.parametrize("path", ["/task", "/chat"])
async def test_an_idempotency_key_with_another_body_is_refused(client: httpx.AsyncClient, store: TaskStore, path: str):
    key = {"idempotency-key": "order-1"}
    await client.post("/task", headers=key, json={"message": "once"})
    answer = await client.post(path, headers=key, json={"message": "once" if path == "/chat" else "twice"})
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_conflict")
    assert (await store.overview()).queued == 1


async def test_without_keys_the_fair_share_is_the_users(
    client: httpx.AsyncClient, gateway: RunningGateway, worker: TinyWorker
):
    for _ in range(5):
        await submitted(client, user_id="many", message="many")
    await submitted(client, user_id="few", message="few")
    order = [(await worker.take()).message for _ in range(6)]
    assert order.index("few") <= 1, order


async def test_a_scheduled_task_waits_for_its_time(client: httpx.AsyncClient, store: TaskStore):
    run_at = datetime.now(UTC) + timedelta(hours=2)
    task_id = await submitted(client, run_at=run_at.isoformat().replace("+00:00", "Z"))
    view = (await client.get(f"/task/{task_id}")).json()
    assert (view["status"], view["queue_position"]) == ("pending", None)
    assert (await store.overview()).scheduled == 1
