"""What a gateway's log says of a request: its id, its caller and its task, and nothing of the request before."""

import hashlib
import json
import socket
from collections.abc import Callable
from typing import Any

import httpx

from tests.conftest import free_port

from .conftest import GatewayProcess
from .test_process import healthy

KEYS = {"alice": "ak_alice_0123456789abcdef", "bob": "ak_bob_0123456789abcdef"}
ENTRIES = "alice:{alice}:admin,bob:{bob}"


def started(run_gateway: Callable[..., GatewayProcess], **settings: str) -> tuple[GatewayProcess, int]:
    port = free_port()
    running = run_gateway(GATEWAY_PORT=str(port), LOG_FORMAT="json", **settings)
    healthy(running, port)
    return running, port


def told(running: GatewayProcess, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in running.said().splitlines()]
    return [line for line in lines if line["event"] == event]


def test_a_submit_is_a_line_with_request_caller_and_task(run_gateway: Callable[..., GatewayProcess]):
    running, port = started(run_gateway)
    hostile = "hello\n2026-11-21T00:00:00.000Z INFO forged"
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as client:
        answer = client.post(
            "/task", json={"message": hostile}, headers={"x-request-id": "mine-1", "idempotency-key": "k"}
        )
        again = client.post("/task", json={"message": hostile}, headers={"idempotency-key": "k"})
        task_id = answer.json()["task_id"]
        assert again.json()["task_id"] == task_id
        cancel_id = client.post(f"/task/{task_id}/cancel").headers["x-request-id"]
    (line,) = told(running, "task_submitted")
    wanted = {"task": task_id, "caller": "local", "agent": "default", "model": "Simulator", "lane": "batch"}
    assert line.items() >= {**wanted, "request_id": "mine-1", "level": "INFO"}.items()
    (cancel,) = told(running, "cancel_requested")
    assert cancel.items() >= {"task": task_id, "request_id": cancel_id, "status": "cancelled"}.items()
    assert "forged" not in running.said(), "what is asked is in no line"


def test_requests_of_one_connection_have_nothing_of_each_other(run_gateway: Callable[..., GatewayProcess]):
    """Pipelined: uvicorn begins each from within the one before."""
    digests = {name: hashlib.sha256(key.encode()).hexdigest() for name, key in KEYS.items()}
    running, port = started(run_gateway, API_KEYS=ENTRIES.format(**digests), ACTIVE_MODEL_KEY="Simulator")
    body = b'{"message": "m"}'

    def request(name: str, number: int) -> bytes:
        head = [
            "POST /task HTTP/1.1",
            "host: localhost",
            f"authorization: Bearer {KEYS[name]}",
            f"x-request-id: {name}-{number}",
            "content-type: application/json",
            f"content-length: {len(body)}",
        ]
        return "\r\n".join([*head, "", ""]).encode() + body

    sent = [(name, number) for number in range(3) for name in KEYS]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"".join(request(*one) for one in sent))
        said = b""
        while said.count(b'"task_id"') < len(sent):
            said += connection.recv(65_536)
    lines = told(running, "task_submitted")
    assert [(line["caller"], line["request_id"]) for line in lines] == [
        (name, f"{name}-{number}") for name, number in sent
    ]
    assert len({line["task"] for line in lines}) == len(sent)
