"""Checks a running Longhaul from outside, over HTTP only: one line a check. It leaves two finished tasks behind.

Exit codes: 0 every check passed, 1 one did not, or nothing answers.
"""

import argparse
import datetime as dt
import time
from collections.abc import Callable

from longhaul_client import Client, LonghaulError, NotFinalError
from operations.client import explained, gateway
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
    checks: tuple[tuple[str, Callable[[Client], str]], ...] = (
        ("health", _health),
        ("ready", _ready),
        ("models", _models),
        ("task", lambda client: _task(client, arguments.wait)),
        ("cancel", _cancel),
        ("unknown task", _unknown),
        ("bad input", _bad_input),
        ("metrics", _metrics),
    )
    failed = 0
    # what is tried again is no check
    with gateway(arguments.url, arguments.key, retry_for_s=0) as client:
        print(f"Checking {client.url}")
        for name, check in checks:
            begun = time.monotonic()
            try:
                said, mark = check(client), "ok  "
            except CheckFailedError as fault:
                said, mark = str(fault), "FAIL"
                failed += 1
            except LonghaulError as fault:
                said, mark = str(explained(fault, client)), "FAIL"
                failed += 1
            except (KeyError, TypeError, ValueError) as fault:
                said, mark = f"the answer has another shape than promised: {type(fault).__name__} {fault}", "FAIL"
                failed += 1
            print(f"  {mark} {name:<12} {(time.monotonic() - begun) * 1000:6.0f} ms  {said}", flush=True)
    if failed:
        raise CommandError(f"{failed} of {len(checks)} checks failed at {client.url}.")
    print("All is well.")
    return 0


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise CheckFailedError(otherwise)


def _health(client: Client) -> str:
    answer = client.request("GET", "/health").json()
    _expect(answer["status"] == "healthy", f"status is {answer['status']}")
    return "healthy"


def _ready(client: Client) -> str:
    client.request("GET", "/ready")
    return "Redis answers and a worker is alive"


def _models(client: Client) -> str:
    models = client.request("GET", "/models").json()["models"]
    active = [model for model in models if model["active"]]
    _expect(len(active) == 1, f"{len(active)} models are active")
    said = f"{len(models)} models, {active[0]['name']} is active"
    return said + ("; SIMULATED, no language model runs" if active[0]["simulated"] else "")


def _task(client: Client, seconds: float) -> str:
    try:
        task = client.wait(client.submit(_QUESTION).task_id, seconds)
    except NotFinalError as fault:
        raise CheckFailedError(fault.detail) from None
    _expect(task.status == "success", f"{task.status}: {task.error_code} {task.error}")
    # Models write thousands in several ways; the digits have to be there.
    digits = "".join(character for character in str(task.result) if character.isdigit())
    _expect(_ANSWER in digits, f"the answer to {_QUESTION!r} holds no {_ANSWER}: {str(task.result)[:200]!r}")
    usage = task.token_usage
    if not usage or usage["total_tokens"] <= 0:
        raise CheckFailedError(f"token_usage is {usage}")
    return f"{_QUESTION} = {_ANSWER} in {task.duration_ms} ms, {usage['total_tokens']} tokens"


def _cancel(client: Client) -> str:
    """A task of tomorrow is surely still waiting when it is cancelled."""
    tomorrow = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    task_id = client.submit("Never run this.", run_at=tomorrow).task_id
    client.cancel(task_id)
    status = client.get(task_id).status
    _expect(status == "cancelled", f"the cancelled task is {status}")
    return "a scheduled task was cancelled"


def _unknown(client: Client) -> str:
    try:
        client.get("0" * 32)
    except LonghaulError as refused:
        _expect(refused.status == 404, f"answers {refused.status}, not 404")
        return "404"
    raise CheckFailedError("a task that never existed was found")


def _bad_input(client: Client) -> str:
    try:
        client.submit("   ")
    except LonghaulError as refused:
        _expect(refused.status == 422, f"a blank message answers {refused.status}, not 422")
        detail = refused.problem.get("detail")
        _expect(isinstance(detail, str) and bool(detail), f"detail is {detail!r}")
        return f"422: {detail}"
    raise CheckFailedError("a blank message was taken")


def _metrics(client: Client) -> str:
    page = client.request("GET", "/metrics").text
    missing = [name for name in _METRICS if name not in page]
    _expect(not missing, f"there is no {', '.join(missing)}")
    return f"{', '.join(_METRICS)}"
