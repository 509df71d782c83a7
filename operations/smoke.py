"""Checks a running Longhaul from outside, over HTTP only: one line a check. It leaves two finished tasks behind.

Exit codes: 0 every check passed, 1 one did not, or nothing answers.
"""

import argparse
import datetime as dt
import time
from collections.abc import Callable
from typing import Any

from operations.ask import FINAL
from operations.client import Gateway
from operations.errors import CommandError

_QUESTION = "Compute (123 * 456 + 789) / 3"
_ANSWER = "18959"
_METRICS = ("agent_requests_total", "agent_request_duration_seconds", "agent_tasks_enqueued_total")


class CheckFailedError(Exception):
    """What was expected and what came."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help="another gateway than this machine's")
    parser.add_argument("--key", metavar="KEY|@FILE", help="API key, or the file that holds it")
    parser.add_argument(
        "--wait", type=float, default=120.0, metavar="SECONDS", help="how long a task may take until it is done (120)"
    )


def run(arguments: argparse.Namespace) -> int:
    checks: tuple[tuple[str, Callable[[Gateway], str]], ...] = (
        ("health", _health),
        ("ready", _ready),
        ("models", _models),
        ("task", lambda gateway: _task(gateway, arguments.wait)),
        ("cancel", _cancel),
        ("unknown task", _unknown),
        ("bad input", _bad_input),
        ("metrics", _metrics),
    )
    failed = 0
    with Gateway(arguments.url, arguments.key) as gateway:
        print(f"Checking {gateway.url}")
        for name, check in checks:
            begun = time.monotonic()
            try:
                said, mark = check(gateway), "ok  "
            except (CheckFailedError, CommandError) as fault:
                said, mark = str(fault), "FAIL"
                failed += 1
            except (KeyError, TypeError, ValueError) as fault:
                said, mark = f"the answer has another shape than promised: {type(fault).__name__} {fault}", "FAIL"
                failed += 1
            print(f"  {mark} {name:<12} {(time.monotonic() - begun) * 1000:6.0f} ms  {said}", flush=True)
    if failed:
        raise CommandError(f"{failed} of {len(checks)} checks failed at {gateway.url}.")
    print("All is well.")
    return 0


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise CheckFailedError(otherwise)


def _health(gateway: Gateway) -> str:
    answer = gateway.json("GET", "/health")
    _expect(answer["status"] == "healthy", f"status is {answer['status']}")
    return "healthy"


def _ready(gateway: Gateway) -> str:
    response = gateway.call("GET", "/ready")
    _expect(response.status_code == 200, f"{response.status_code} {response.text[:300]}")
    return "Redis answers and a worker is alive"


def _models(gateway: Gateway) -> str:
    models = gateway.json("GET", "/models")["models"]
    active = [model for model in models if model["active"]]
    _expect(len(active) == 1, f"{len(active)} models are active")
    said = f"{len(models)} models, {active[0]['name']} is active"
    return said + ("; SIMULATED, no language model runs" if active[0]["simulated"] else "")


def _task(gateway: Gateway, seconds: float) -> str:
    task_id = gateway.json("POST", "/task", {"message": _QUESTION})["task_id"]
    task = _finished(gateway, task_id, seconds)
    _expect(task["status"] == "success", f"{task['status']}: {task.get('error_code')} {task.get('error')}")
    # Models write thousands in several ways; the digits have to be there.
    digits = "".join(character for character in str(task["result"]) if character.isdigit())
    _expect(_ANSWER in digits, f"the answer to {_QUESTION!r} holds no {_ANSWER}: {str(task['result'])[:200]!r}")
    usage = task["token_usage"]
    _expect(usage is not None and usage["total_tokens"] > 0, f"token_usage is {usage}")
    return f"{_QUESTION} = {_ANSWER} in {task['duration_ms']} ms, {usage['total_tokens']} tokens"


def _finished(gateway: Gateway, task_id: str, seconds: float) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        task = gateway.json("GET", f"/task/{task_id}?wait=10")
        if task["status"] in FINAL:
            return task
    raise CheckFailedError(f"task {task_id} is not done after {seconds:.0f} s; it is {task['status']}")


def _cancel(gateway: Gateway) -> str:
    """A task of tomorrow is surely still waiting when it is cancelled."""
    tomorrow = (dt.datetime.now(dt.UTC) + dt.timedelta(days=1)).isoformat()
    task_id = gateway.json("POST", "/task", {"message": "Never run this.", "run_at": tomorrow})["task_id"]
    gateway.json("POST", f"/task/{task_id}/cancel")
    status = gateway.json("GET", f"/task/{task_id}")["status"]
    _expect(status == "cancelled", f"the cancelled task is {status}")
    return "a scheduled task was cancelled"


def _unknown(gateway: Gateway) -> str:
    response = gateway.call("GET", f"/task/{'0' * 32}")
    _expect(response.status_code == 404, f"answers {response.status_code}, not 404")
    return "404"


def _bad_input(gateway: Gateway) -> str:
    response = gateway.call("POST", "/task", {"message": "   "})
    _expect(response.status_code == 422, f"a blank message answers {response.status_code}, not 422")
    detail = response.json()["detail"]
    _expect(isinstance(detail, str) and bool(detail), f"detail is {detail!r}")
    return f"422: {detail}"


def _metrics(gateway: Gateway) -> str:
    response = gateway.call("GET", "/metrics")
    _expect(response.status_code == 200, f"answers {response.status_code}")
    missing = [name for name in _METRICS if name not in response.text]
    _expect(not missing, f"there is no {', '.join(missing)}")
    return f"{', '.join(_METRICS)}"
