"""POST /chat: a task in the interactive lane, answered on the line."""

import asyncio

import httpx

from gateway.problems import KINDS, TASK_STATUSES
from taskstore.error_codes import ErrorCode
from taskstore.records import Kind, TokenUsage
from taskstore.states import Status
from taskstore.store import TaskStore

from .conftest import StartGateway, TinyWorker


async def taken(worker: TinyWorker, store: TaskStore):
    """The claim of the chat's task, once it is queued."""
    while (await store.overview()).queued == 0:
        await asyncio.sleep(0.005)
    return await worker.take()


async def test_a_chat_answers_with_the_agents_words(client: httpx.AsyncClient, worker: TinyWorker, store: TaskStore):
    call = asyncio.create_task(client.post("/chat", json={"message": "hi", "session_id": "s1", "user_id": "u1"}))
    claim = await taken(worker, store)
    assert claim.kind is Kind.INTERACTIVE
    usage = TokenUsage(prompt_tokens=1, completion_tokens=2, total_tokens=3)
    await worker.end("success", claim, result="hello", usage=usage, cost_usd=0.0, simulated=True)
    answer = await asyncio.wait_for(call, 10)
    body = answer.json()
    assert answer.status_code == 200
    assert set(body) == {
        "output", "duration_ms", "session_id", "task_id", "token_usage", "cost_usd", "model", "simulated",
    }  # fmt: skip
    assert (body["output"], body["session_id"], body["task_id"]) == ("hello", "s1", claim.task_id)
    assert body["token_usage"] == usage.as_dict()
    assert body["simulated"] is True


async def test_a_failed_chat_says_why(client: httpx.AsyncClient, worker: TinyWorker, store: TaskStore):
    for code in ErrorCode:
        call = asyncio.create_task(client.post("/chat", json={"message": "hi"}))
        claim = await taken(worker, store)
        if code is ErrorCode.CANCELLED:
            await worker.end("cancelled", claim)
        else:
            await worker.end("fail", claim, error="A sentence for the client.", error_code=code.value)
        answer = await asyncio.wait_for(call, 10)
        problem = answer.json()
        assert answer.status_code == TASK_STATUSES[code], code
        assert answer.headers["content-type"] == "application/problem+json"
        assert (problem["code"], problem["status"]) == (code.value, answer.status_code)
        assert problem["task_id"] == claim.task_id
        assert problem["detail"]
        if code is not ErrorCode.CANCELLED:
            assert problem["detail"] == "A sentence for the client."


def test_the_statuses_follow_the_design():
    for code, status in TASK_STATUSES.items():
        if code is ErrorCode.CANCELLED:
            assert status == 409
        elif code.value.endswith("_timeout") or code is ErrorCode.DEADLINE_EXCEEDED:
            assert status == 504
        elif code is ErrorCode.AGENT_UNAVAILABLE:
            assert status == KINDS["agent_unavailable"].status
        elif code.value.startswith("provider_"):
            assert status == 502
        else:
            assert status in {500, 502}
    assert set(TASK_STATUSES) == set(ErrorCode)


async def test_a_slow_chat_is_a_504_while_its_task_goes_on(
    start_gateway: StartGateway, worker: TinyWorker, store: TaskStore
):
    async with start_gateway(chat_timeout_seconds=0.3).client() as client:
        answer = await client.post("/chat", json={"message": "hi"})
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (504, "chat_timeout")
        assert f"GET /task/{problem['task_id']}" in problem["detail"]
        await worker.end("success", result="late")
        assert (await client.get(f"/task/{problem['task_id']}")).json()["result"] == "late"


async def test_a_chat_goes_before_queued_tasks(client: httpx.AsyncClient, worker: TinyWorker, store: TaskStore):
    for _ in range(3):
        await client.post("/task", json={"message": "queued"})
    call = asyncio.create_task(client.post("/chat", json={"message": "talk"}))
    while (await store.overview()).queued < 4:
        await asyncio.sleep(0.005)
    claim = await worker.take()
    assert claim.message == "talk"
    await worker.end("success", claim, result="talked")
    assert (await asyncio.wait_for(call, 10)).json()["output"] == "talked"
    assert (await store.get(claim.task_id)).status is Status.SUCCESS
