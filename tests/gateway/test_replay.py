"""POST /task/{id}/replay: a failed task runs again, on another model; whoever else asks is told why not."""

from typing import Any

import httpx
import pytest

from core_config import Settings
from taskstore.records import TokenUsage
from taskstore.store import TaskStore

from .conftest import JSON, TinyWorker, submitted


@pytest.fixture
async def failed(client: httpx.AsyncClient, worker: TinyWorker) -> str:
    task_id = await submitted(client, deadline_s=3600)
    await worker.end("fail", error="No credit left.", error_code="provider_no_balance",
                     usage=TokenUsage(1, 2, 3, 0, 0), cost_usd=0.5, simulated=True)  # fmt: skip
    return task_id


async def replay(client: httpx.AsyncClient, task_id: str, **options: Any) -> tuple[int, Any]:
    answer = await client.post(f"/task/{task_id}/replay", **options)
    return answer.status_code, answer.json()


async def test_a_failed_task_runs_again_on_another_model_and_keeps_its_past(
    client: httpx.AsyncClient, store: TaskStore, failed: str
) -> None:
    answer = await replay(client, failed, json={"model": "Local"})
    assert answer == (200, {"task_id": failed, "status": "pending", "model": "Local"})
    view = (await client.get(f"/task/{failed}")).json()
    assert (view["model"], view["status"], view["simulated"]) == ("Local", "pending", False)
    assert (view["error"], view["error_code"], view["completed_at"], view["deadline_at"]) == (None, None, None, None)
    assert (view["attempt"], view["cost_usd"], view["token_usage"]["total_tokens"]) == (1, 0.5, 3), "as before"
    (claim,) = (await store.claim("w2", 1, room=1, extra=0, models={"Local": None})).tasks
    assert (claim.task_id, claim.message) == (failed, "hello")
    again = await replay(client, failed, json={"model": "Local"})
    assert again == (200, {"task_id": failed, "status": "running", "model": "Local"})


@pytest.mark.parametrize("options", [{}, {"json": {}}, {"json": None}, {"json": {"model": None}}, {"content": b""}])
async def test_without_a_model_it_keeps_its_own(client: httpx.AsyncClient, failed: str, options: Any) -> None:
    answer = await replay(client, failed, **options)
    assert answer == (200, {"task_id": failed, "status": "pending", "model": "Simulator"})


async def test_only_what_failed_is_replayed_and_the_answer_says_what_it_is(
    client: httpx.AsyncClient, worker: TinyWorker
) -> None:
    task_id = await submitted(client)

    async def refused_as(status: str) -> None:
        code, problem = await replay(client, task_id)
        assert (code, problem["code"], problem["task_status"]) == (409, "wrong_status", status)
        assert problem["detail"] == f"Only a task that failed can be replayed; this one is {status}."

    await refused_as("pending")
    claim = await worker.take()
    await refused_as("running")
    await worker.end("retry", claim)
    await refused_as("pending")  # retrying, to clients that know four statuses
    await worker.end("success", result="done")
    await refused_as("success")


async def test_a_model_that_nobody_has_is_refused_and_nothing_is_written(
    client: httpx.AsyncClient, store: TaskStore, failed: str
) -> None:
    code, problem = await replay(client, failed, json={"model": "Lokal"})
    assert (code, problem["code"]) == (422, "unknown_model")
    assert "did you mean 'Local'?" in problem["detail"]
    # nor is it sent to wait for its own model, when that has left the registry
    await store.redis.hset(store.keys.task(failed), "model", "Retired")  # type: ignore[misc]  # redis-py's union
    code, problem = await replay(client, failed)
    assert (code, problem["code"]) == (422, "unknown_model")
    assert "'Retired'" in problem["detail"]
    assert (await store.get(failed)).status == "failed"


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"json": {"modell": "Local"}}, 422, "invalid_request"),
        ({"json": {"model": 7}}, 422, "invalid_request"),
        ({"json": {"model": ""}}, 422, "unknown_model"),
        ({"json": []}, 422, "invalid_request"),
        ({"content": b"{", "headers": JSON}, 422, "invalid_json"),
        ({"content": b"{}", "headers": {"content-type": "text/plain"}}, 415, "unsupported_media_type"),
        ({"content": b"{}" + b" " * 300_000, "headers": JSON}, 413, "body_too_large"),
    ],
)
async def test_a_body_that_comes_is_read_as_strictly_as_any(
    client: httpx.AsyncClient, failed: str, options: Any, status: int, code: str
) -> None:
    answered, problem = await replay(client, failed, **options)
    assert (answered, problem["code"]) == (status, code)


async def test_a_body_without_a_length_is_read_too(client: httpx.AsyncClient, failed: str) -> None:
    async def chunks() -> Any:
        yield b'{"model": '
        yield b'"Local"}'

    answer = await replay(client, failed, content=chunks(), headers=JSON)
    assert answer == (200, {"task_id": failed, "status": "pending", "model": "Local"})


async def test_a_full_queue_takes_it(client: httpx.AsyncClient, settings: Settings, failed: str, start_gateway) -> None:
    full = start_gateway(queue_max_depth=1)
    async with full.client() as other:
        await submitted(other)
        assert (await other.post("/task", json={"message": "one too many"})).status_code == 429
        assert (await replay(other, failed))[0] == 200
