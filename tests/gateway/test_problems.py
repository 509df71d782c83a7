"""The table of problems: documented, and silent about what is ours."""

import re

import httpx
import pytest
import redis

from core_config import ROOT, Settings
from gateway.problems import KINDS, TASK_STATUSES
from taskstore.store import TaskStore

from .conftest import RunningGateway, submitted


def test_the_documented_codes_are_the_codes():
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", (ROOT / "docs" / "problems.md").read_text(), re.MULTILINE)
    coded = [(code, str(kind.status)) for code, kind in KINDS.items()]
    coded += [(code.value, str(status)) for code, status in TASK_STATUSES.items()]
    assert rows == coded


async def test_a_fault_of_ours_says_its_request_id_and_nothing_else(
    client: httpx.AsyncClient, store: TaskStore, settings: Settings, caplog: pytest.LogCaptureFixture
):
    task_id = await submitted(client)
    with redis.Redis.from_url(settings.redis_address) as server:
        server.hset(store.keys.task(task_id), "status", "a-later-version's")
    answer = await client.get(f"/task/{task_id}", headers={"x-request-id": "mine-1"})
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] == "mine-1"
    assert answer.headers["x-content-type-options"] == "nosniff"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "code", "detail", "request_id"}
    assert (problem["code"], problem["request_id"]) == ("internal", "mine-1")
    for leak in ("Traceback", "ValueError", "Status", ".py", "later-version", str(ROOT)):
        assert leak not in answer.text
    (record,) = [record for record in caplog.records if record.message == "request_failed"]
    assert vars(record)["request_id"] == "mine-1"
    assert record.exc_info is not None
    page = (await client.get("/metrics")).text
    assert re.search(r'agent_requests_total\{endpoint="/task/\{task_id\}",kind="poll",status="500"\} [1-9]', page)


@pytest.mark.parametrize("sent", ["", "a b", "x" * 65, "line\tbreak", "ü"])
async def test_a_request_id_that_cannot_stand_in_a_log_is_replaced(client: httpx.AsyncClient, sent: str):
    answer = await client.get("/health", headers=[(b"x-request-id", sent.encode())])
    assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])


async def test_every_answer_carries_the_headers_that_browsers_need(client: httpx.AsyncClient):
    task_id = await submitted(client)
    for path in (
        f"/task/{task_id}",
        "/task/none",
        "/nope",
        "/health",
        "/ready",
        "/metrics",
        "/models",
        "/openapi.json",
    ):
        headers = (await client.get(path)).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-request-id"]
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers
    assert "content-security-policy" not in (await client.get("/docs")).headers


async def test_the_openapi_document_names_every_route_and_what_it_answers(
    client: httpx.AsyncClient, gateway: RunningGateway
):
    document = (await client.get("/openapi.json")).json()
    answers = {
        f"{method.upper()} {path}": sorted(operation["responses"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    submits = ["200", "401", "403", "409", "413", "415", "422", "429"]
    assert answers == {
        "POST /task": [*submits, "503"],
        "POST /chat": [*submits, "500", "502", "503", "504"],
        "POST /chat/stream": [*submits, "503"],
        "GET /task/{task_id}": ["200", "401", "403", "404", "422", "503"],
        "GET /task/{task_id}/events": ["200", "204", "401", "403", "404", "422", "503"],
        "POST /task/{task_id}/watch-token": ["200", "401", "403", "404", "422", "503"],
        "POST /task/{task_id}/cancel": ["200", "401", "403", "404", "409", "422", "503"],
        "POST /task/{task_id}/replay": ["200", "401", "403", "404", "409", "413", "415", "422", "503"],
        "GET /tasks": ["200", "401", "403", "422", "503"],
        "GET /sessions": ["200", "401", "403", "422", "503"],
        "GET /session/{session_id}": ["200", "401", "403", "404", "422", "503"],
        "DELETE /session/{session_id}": ["200", "401", "403", "404", "422", "503"],
        "GET /agents": ["200", "401", "403", "503"],
        "GET /models": ["200", "401", "403"],
        "GET /health": ["200", "403"],
        "GET /ready": ["200", "403", "422", "503"],
        "GET /metrics": ["200", "403"],
    }
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert set(document["components"]["schemas"]["TaskBody"]["properties"]) == {
        "message", "input", "output_schema", "session_id", "user_id", "on_busy_session", "model", "agent", "priority",
        "deadline_s", "stream", "run_at", "metadata",
    }  # fmt: skip
    assert {getattr(route, "path_format", None) or route.path for route in gateway.app.routes} == {  # type: ignore[attr-defined]  # every route here has a path
        *document["paths"], "/healthz", "/readiness", "/openapi.json", "/docs", "/docs/oauth2-redirect",
    }  # fmt: skip
