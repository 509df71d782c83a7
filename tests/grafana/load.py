"""A short load of everything that happens to tasks: answers, tools, failures, retries, dead letters, sessions, streams,
a cancel, refused requests. Each kind once a round, from outside over HTTP.
"""

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tests.system.conftest import System

from .prometheus_server import PATIENCE_S

FAST, DEAR = "Fast", "Dear"
MODELS_FILE = f"""
[{FAST}]
litellm_id = "openai/simulator-fast"
base_url = "http://127.0.0.1:{{port}}/v1"
price_in = 0.001
price_out = 0.002
simulated = true
cooldown = false

[{DEAR}]
litellm_id = "openai/simulator-dear"
base_url = "http://127.0.0.1:{{port}}/v1"
simulated = true
cooldown = false
"""


def round_of_load(system: System, number: int) -> None:
    """Returns when every task of it is final."""
    kinds = (answers, failures, streams, conversation, cancelled, refused)
    with ThreadPoolExecutor(len(kinds)) as pool:
        for done in [pool.submit(kind, system, number) for kind in kinds]:
            done.result()


def answers(system: System, number: int) -> None:
    tasks = [submit(system, f"Compute {number} * {other} and what time is it?", FAST) for other in range(6)]
    tasks += [submit(system, f"Compute {number} / 0", DEAR)]  # the tool says that it cannot
    for task in tasks:
        assert system.final(task)["status"] == "success"
    ask(system, 200, "GET", f"/task/{tasks[0]}")
    ask(system, 200, "POST", "/chat", message="hello", model=FAST)


def failures(system: System, number: int) -> None:
    again = submit(system, f"[[times=1 status=429 retry_after=0]] once, {number}", FAST)
    buried = submit(system, f"[[status=503 retry_after=0]] always, {number}", DEAR)
    refused = submit(system, f"[[error=deepseek_no_balance]] {number}", FAST)
    endless = submit(system, f"[[loop]] {number}", FAST)
    ask(system, 502, "POST", "/chat", message=f"[[error=deepseek_no_balance]] chat {number}", model=FAST)
    assert system.final(again)["attempt"] == 2
    assert system.final(buried)["error_code"] == "provider_unavailable"
    assert system.final(refused)["error_code"] == "provider_no_balance"
    assert system.final(endless)["error_code"] == "max_iterations"
    ask(system, 200, "POST", f"/task/{buried}/replay", model=FAST)
    system.final(buried)


def streams(system: System, number: int) -> None:
    asked = {"message": f"Tell me something, {number}", "model": FAST}
    with system.http.stream("POST", "/chat/stream", json=asked) as answer:
        assert "success" in "".join(answer.iter_text())
    task = submit(system, f"[[delay=0.2]] Compute 2 * {number}", FAST)
    with system.http.stream("GET", f"/task/{task}/events", params={"tokens": "true"}) as answer:
        assert "success" in "".join(answer.iter_text())


def conversation(system: System, number: int) -> None:
    session = {"session_id": f"session-{number}", "user_id": "ada"}
    turns = [submit(system, f"Turn {turn}", FAST, **session) for turn in range(2)]
    for turn in turns:
        assert system.final(turn)["status"] == "success"


@contextmanager
def stuck_session(system: System) -> Iterator[None]:
    """A task that waits behind one that takes long."""
    session = {"session_id": "stuck", "user_id": "ada"}
    first, second = (submit(system, f"[[delay={delay}]] Hello", FAST, **session) for delay in (300, 0))
    yield
    ask(system, 200, "POST", f"/task/{first}/cancel")
    assert system.final(second)["status"] == "success"


def cancelled(system: System, number: int) -> None:
    task = submit(system, f"[[delay=60]] {number}", FAST)
    end = time.monotonic() + PATIENCE_S
    while ask(system, 200, "GET", f"/task/{task}")["status"] != "running":
        assert time.monotonic() < end, "it never ran"
        time.sleep(0.05)
    ask(system, 200, "POST", f"/task/{task}/cancel")
    assert system.final(task)["status"] == "cancelled"


def refused(system: System, number: int) -> None:
    ask(system, 422, "POST", "/task", message=f"{number}", model="GTP")
    ask(system, 404, "GET", "/task/0123456789abcdef0123456789abcdef")
    ask(system, 200, "GET", "/ready")


def submit(system: System, message: str, model: str, **fields: str) -> str:
    answer = ask(system, 200, "POST", "/task", message=message, model=model, **fields)
    return str(answer["task_id"])


def ask(system: System, status: int, method: str, path: str, **body: str) -> dict[str, Any]:
    """The answer, which has this status. 503 is a Redis that took too long, on a machine that is loaded: again."""
    end = time.monotonic() + PATIENCE_S
    key = {"Idempotency-Key": uuid.uuid4().hex} if path == "/task" else {}
    while True:
        answer = system.http.request(method, path, json=body or None, headers=key)
        if answer.status_code != 503 or time.monotonic() > end:
            break
        time.sleep(0.2)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found
