"""Bad input: each kind has a status, a code and a sentence that helps, and writes nothing."""

import asyncio
import contextlib
import itertools
import json
import logging
import re
import socket
from typing import Any

import httpx
import pytest

from core_config import Settings
from taskstore.store import TaskStore

from .conftest import JSON, RunningGateway, StartGateway

DEEP = b'{"message": "m", "metadata": ' + b'{"a":' * 40 + b"1" + b"}" * 41
VERY_DEEP = b'{"message": "m", "metadata": ' + b"[" * 100_000

BODIES: list[tuple[str, bytes, int, str, str]] = [
    ("empty body", b"", 422, "invalid_json", "empty"),
    ("not JSON", b"{message: hi}", 422, "invalid_json", "not valid JSON"),
    ("cut off", b'{"message": "hi', 422, "invalid_json", "not valid JSON"),
    ("NaN", b'{"message": "m", "deadline_s": NaN}', 422, "invalid_json", "not valid JSON"),
    ("infinite number", b'{"message": "m", "deadline_s": 1e999}', 422, "invalid_json", "not valid JSON"),
    ("not UTF-8", b'{"message": "\xff\xfe"}', 422, "invalid_json", "not UTF-8"),
    ("unpaired surrogate", b'{"message": "\\ud83d"}', 422, "invalid_json", "whole character"),
    ("raw surrogate", b'{"message": "\xed\xa0\xbd"}', 422, "invalid_json", "not UTF-8"),
    ("NUL in the message", b'{"message": "a\\u0000b"}', 422, "invalid_json", "NUL"),
    ("NUL deep in metadata", b'{"message": "m", "metadata": {"a": ["\\u0000"]}}', 422, "invalid_json", "NUL"),
    ("NUL in a name", b'{"message": "m", "metadata": {"\\u0000": 1}}', 422, "invalid_json", "NUL"),
    ("a name twice", b'{"message": "a", "message": "b"}', 422, "invalid_json", "'message' stands twice"),
    ("a name twice within", b'{"message": "a", "metadata": {"x": [{"y": 1, "y": 2}]}}', 422, "invalid_json", "twice"),
    ("deep", DEEP, 422, "invalid_json", "deeper than 32"),
    ("very deep", VERY_DEEP, 422, "invalid_json", "deeper than 32"),
    ("a list", b"[]", 422, "invalid_request", "must be a JSON object"),
    ("a text", b'"message"', 422, "invalid_request", "must be a JSON object"),
    ("null", b"null", 422, "invalid_request", "must be a JSON object"),
    ("no message to chat", b"{}", 422, "invalid_request", "message: is required"),
    ("empty message", b'{"message": ""}', 422, "invalid_request", "message: is empty; say what the agent should do"),
    ("blank message", b'{"message": " \\n\\t\\u3000"}', 422, "invalid_request", "message: is empty"),
    ("null message to chat", b'{"message": null}', 422, "invalid_request", "message: must be a valid string"),
    ("a large integer", b'{"message": "m", "metadata": {"n": 18446744073709551616}}', 422, "invalid_json", "64 bits"),
    ("message of a wrong type", b'{"message": 42}', 422, "invalid_request", "message: must be a valid string"),
    ("unknown field", b'{"message": "m", "mesage": "m"}', 422, "invalid_request", "did you mean 'message'?"),
    ("far unknown field", b'{"message": "m", "zzz": 1}', 422, "invalid_request", "the fields are agent, deadline_s"),
    ("the store's field", b'{"message": "m", "status": "success"}', 422, "invalid_request", "is no field"),
    ("the store's owner", b'{"message": "m", "caller": "bob"}', 422, "invalid_request", "is no field"),
    ("unknown model", b'{"message": "m", "model": "deepseek-v3"}', 422, "unknown_model", "mean 'DeepSeek-V3'? known: "),
    ("unknown agent", b'{"message": "m", "agent": "other"}', 422, "unknown_agent", "known: default"),
    ("priority as text", b'{"message": "m", "priority": "5"}', 422, "invalid_request", "priority: must be a valid int"),
    ("priority true", b'{"message": "m", "priority": true}', 422, "invalid_request", "priority: must be a valid int"),
    ("priority 0", b'{"message": "m", "priority": 0}', 422, "invalid_request", "priority: must be greater than"),
    ("priority 10", b'{"message": "m", "priority": 10}', 422, "invalid_request", "priority: must be less than"),
    ("deadline 0", b'{"message": "m", "deadline_s": 0}', 422, "invalid_request", "deadline_s: must be greater"),
    ("huge deadline", b'{"message": "m", "deadline_s": 1e15}', 422, "invalid_request", "deadline_s: must be less"),
    ("run_at in words", b'{"message": "m", "run_at": "tomorrow"}', 422, "invalid_request", "ISO 8601"),
    ("run_at a number", b'{"message": "m", "run_at": 1790000000}', 422, "invalid_request", "ISO 8601"),
    ("run_at local", b'{"message": "m", "run_at": "2030-01-01T00:00:00"}', 422, "invalid_request", "with an offset"),
    (
        "deadline before run_at",
        b'{"message": "m", "deadline_s": 60, "run_at": "2999-01-01T00:00:00Z"}',
        422,
        "invalid_request",
        "deadline_s: counts from now",
    ),
    ("metadata a list", b'{"message": "m", "metadata": []}', 422, "invalid_request", "metadata: must be a JSON object"),
    (
        "large metadata",
        json.dumps({"message": "m", "metadata": {"x": "y" * 17_000}}).encode(),
        422,
        "invalid_request",
        "metadata: is larger than 16384 bytes",
    ),
    ("session_id a number", b'{"message": "m", "session_id": 1}', 422, "invalid_request", "session_id: must be"),
    ("user_id a separator", b'{"message": "m", "user_id": "a\\u001fb"}', 422, "invalid_request", "control character"),
    (
        "long user_id",
        json.dumps({"message": "m", "user_id": "u" * 201}).encode(),
        422,
        "invalid_request",
        "user_id: must have at most 200 characters",
    ),
    (
        "message too long",
        json.dumps({"message": "m" * 32_001}).encode(),
        422,
        "invalid_request",
        "has 32001 characters; 32000 are the most",
    ),
    ("5 MB", b'{"message": "' + b"m" * 5_000_000 + b'"}', 413, "body_too_large", "262144 bytes"),
]


def helps(answer: httpx.Response, status: int, code: str, phrase: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert (problem["code"], problem["status"]) == (code, status)
    assert problem["type"] == f"urn:longhaul:problem:{code}"
    assert problem["title"]
    assert isinstance(problem["detail"], str)
    assert phrase in problem["detail"]
    assert "request_id" not in problem
    if code in {"invalid_request", "unknown_model", "unknown_agent"}:
        assert problem["errors"]
        assert all(set(error) == {"loc", "msg", "type"} for error in problem["errors"])
    return problem


@pytest.mark.parametrize("path", ["/task", "/chat"])
async def test_bad_bodies(client: httpx.AsyncClient, store: TaskStore, settings: Settings, path: str):
    task_only = ("priority", "deadline", "run_at", "metadata", "far unknown")
    for name, body, status, code, phrase in BODIES:
        if path == "/chat" and any(word in name for word in task_only):
            continue
        if path == "/task" and "to chat" in name:
            continue
        try:
            helps(await client.post(path, content=body, headers=JSON), status, code, phrase)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
    assert [key async for key in store.redis.scan_iter(f"{settings.key_prefix}*")] == []


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/json; charset=utf-16",
        "x",
    ],
)
async def test_a_wrong_content_type(client: httpx.AsyncClient, content_type: str):
    headers = {"content-type": content_type} if content_type else {}
    answer = await client.post("/task", content=b'{"message": "m"}', headers=headers)
    helps(answer, 415, "unsupported_media_type", "Content-Type: application/json")


@pytest.mark.parametrize("content_type", ["application/json; charset=UTF-8", "application/problem+json"])
async def test_content_types_that_are_json(client: httpx.AsyncClient, content_type: str):
    answer = await client.post("/task", content=b'\xef\xbb\xbf{"message": "m"}', headers={"content-type": content_type})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "task_id",
    [
        "x",
        "00000000000000000000000000000000",
        "../../etc/passwd",
        "%00",
        "ÄÖ",
        "'; DROP TABLE",
        "0" * 5000,
        "%2E%2E",
        "*",
    ],
)
async def test_what_is_no_id_looks_like_an_unknown_one(client: httpx.AsyncClient, task_id: str):
    missing = await client.get("/task/ffffffffffffffffffffffffffffffff")
    helps(missing, 404, "task_not_found", "No task has this id")
    answer = await client.get(f"/task/{task_id.replace('/', '_')}")
    assert (answer.status_code, answer.content) == (404, missing.content)
    answer = await client.post(f"/task/{task_id.replace('/', '_')}/cancel")
    assert (answer.status_code, answer.content) == (404, missing.content)


@pytest.mark.parametrize(
    ("query", "phrase"),
    [
        ("wait=-1", "wait: must be greater than or equal to 0"),
        ("wait=61", "wait: must be less than or equal to 60"),
        ("wait=abc", "wait: must be a valid number"),
        ("wait=nan", "wait: must be"),
        ("wait=inf", "wait: must be"),
        ("wait=", "wait: must be a valid number"),
        ("wiat=1", "wiat: is no field of this call; did you mean 'wait'?"),
    ],
)
async def test_bad_waits(client: httpx.AsyncClient, query: str, phrase: str):
    helps(await client.get(f"/task/{'f' * 32}?{query}"), 422, "invalid_request", phrase)


@pytest.mark.parametrize("key", ["", "two words", "k" * 256, "ümlaut"])
async def test_bad_idempotency_keys(client: httpx.AsyncClient, key: str):
    headers = [(b"idempotency-key", key.encode())]
    helps(await client.post("/task", json={"message": "m"}, headers=headers), 422, "invalid_request", "Idempotency-Key")


async def test_unknown_routes_and_methods_are_problems(client: httpx.AsyncClient):
    helps(await client.get("/nope"), 404, "not_found", "no such route")
    helps(await client.post("/task/"), 404, "not_found", "no such route")
    answer = await client.delete("/task")
    helps(answer, 405, "method_not_allowed", "POST only")
    assert answer.headers["allow"] == "POST"


async def test_many_unknown_fields_make_a_short_answer(client: httpx.AsyncClient):
    body = {"message": "m", **{f"{number}-{'x' * 300}": 1 for number in range(500)}}
    answer = await client.post("/task", json=body)
    assert len(helps(answer, 422, "invalid_request", "and 17 more")["errors"]) == 20
    assert len(answer.content) < 10_000


def answered(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection, or the answer's head at least."""
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def test_a_declared_body_is_refused_before_it_is_sent(gateway: RunningGateway):
    with gateway.connect() as connection:
        connection.sendall(
            b"POST /task HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 5000000\r\n\r\n" + b"{"
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_an_expected_continue_is_answered_without_one(gateway: RunningGateway):
    with gateway.connect() as connection:
        connection.sendall(
            b"POST /task HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
            b"Content-Length: 5000000\r\n\r\n"
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")
        connection.shutdown(socket.SHUT_WR)
        assert b"100 Continue" not in answered(connection)


def test_an_endless_chunked_body_is_refused_and_then_cut_off(gateway: RunningGateway):
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    chunks = itertools.count(1)
    with gateway.connect() as connection:
        connection.sendall(
            b"POST /task HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while next(chunks) < 1000:
                connection.sendall(chunk)
    assert next(chunks) < 800, "64 MB were taken from a client that was told 413"


async def test_a_client_that_leaves_before_its_body_is_whole_is_no_fault_of_ours(
    gateway: RunningGateway, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
):
    def counted(page: str) -> float:
        found = re.search(r'agent_requests_total\{endpoint="/task",kind="submit",status="499"\} (\S+)', page)
        return float(found.group(1)) if found else 0

    before = counted((await client.get("/metrics")).text)
    with gateway.connect() as connection:
        connection.sendall(
            b"POST /task HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        )
    async with asyncio.timeout(5):
        while counted((await client.get("/metrics")).text) != before + 1:
            await asyncio.sleep(0.02)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_body_at_the_limit_is_read(start_gateway: StartGateway):
    body = b'{"message": "m"}'
    async with start_gateway(max_body_bytes=1024).client() as client:
        padded = body[:-1] + b" " * (1024 - len(body)) + body[-1:]
        assert (await client.post("/task", content=padded, headers=JSON)).status_code == 200
        helps(await client.post("/task", content=padded + b" ", headers=JSON), 413, "body_too_large", "1024")


async def test_an_ordinary_control_character_may_stand_in_a_message(client: httpx.AsyncClient, store: TaskStore):
    message = 'tab\tnewline\nescape\x1b bell\x07 emoji \U0001f600 quote" back\\u0000slash'
    answer = await client.post("/task", json={"message": message})
    assert (await store.get(answer.json()["task_id"])).message == message
