"""The gateway's part: it keeps its caller's trace context and says where the trace is seen."""

from collections.abc import Iterator

import pytest

from core_config import Settings
from taskstore.store import TaskStore
from tests.gateway.conftest import RunningGateway

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture(scope="module")
def gateway(redis_server) -> Iterator[RunningGateway]:
    settings = Settings(
        redis_url=redis_server.url,
        key_prefix="traces-gateway:",
        chat_timeout_seconds=0.05,
        langfuse_public_key="pk-lf-1",
        langfuse_secret_key="sk-lf-1",
        LANGFUSE_BASE_URL="https://langfuse.example.com",
    )
    running = RunningGateway(settings)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"key_prefix": "traces-gateway:"})


async def submitted(gateway: RunningGateway, path: str, header: str | None) -> str:
    """The id of a task that was submitted there."""
    headers = [] if header is None else [(b"traceparent", header.encode("latin-1"))]
    async with (
        gateway.client() as client,
        client.stream("POST", path, json={"message": "x"}, headers=headers) as answer,
    ):
        if path == "/chat/stream":
            return answer.headers["location"].rpartition("/")[2]
        body = await answer.aread()
        assert answer.status_code in {200, 504}, body
        task_id: str = answer.json()["task_id"]
        return task_id


@pytest.mark.parametrize("path", ["/task", "/chat", "/chat/stream"])
async def test_a_task_keeps_its_caller_s_trace_context(gateway: RunningGateway, store: TaskStore, path: str) -> None:
    task_id = await submitted(gateway, path, VALID)
    assert (await store.get(task_id)).traceparent == VALID
    async with gateway.client() as client:
        seen = (await client.get(f"/task/{task_id}")).json()
    assert seen["trace_url"] == f"https://langfuse.example.com/trace/{TRACE}"


@pytest.mark.parametrize("header", [None, "", "00-abc", f"ff-{TRACE}-{PARENT}-01", VALID + "é", "x" * 5000])
async def test_what_is_no_trace_context_is_passed_over(
    gateway: RunningGateway, store: TaskStore, header: str | None
) -> None:
    task_id = await submitted(gateway, "/task", header)
    assert (await store.get(task_id)).traceparent is None
    async with gateway.client() as client:
        seen = (await client.get(f"/task/{task_id}")).json()
    assert seen["trace_url"] == f"https://langfuse.example.com/trace/{task_id}"


async def test_a_submit_sent_again_keeps_its_first_trace(gateway: RunningGateway, store: TaskStore) -> None:
    async with gateway.client() as client:
        ids = []
        for header in (VALID, f"00-{TRACE[::-1]}-{PARENT}-01"):
            headers = {"traceparent": header, "idempotency-key": "the-same"}
            ids.append((await client.post("/task", json={"message": "x"}, headers=headers)).json()["task_id"])
    assert ids[0] == ids[1]
    assert (await store.get(ids[0])).traceparent == VALID


async def test_without_tracing_there_is_no_address(settings: Settings) -> None:
    gateway = RunningGateway(settings)
    gateway.start()
    try:
        task_id = await submitted(gateway, "/task", VALID)
        async with gateway.client() as client:
            assert (await client.get(f"/task/{task_id}")).json()["trace_url"] is None
    finally:
        gateway.stop()
