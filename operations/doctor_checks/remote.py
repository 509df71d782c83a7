"""A system from outside, over HTTP: is it up, would it run tasks, does one run to its end, are there metrics."""

import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from longhaul_client import Client, LonghaulError, NotFinalError, Submitted, Task
from operations.client import explained
from operations.doctor_checks.finding import Check, Finding, Level, failure, ok, warning

QUESTION = "Answer with one word: ready."
"""It makes no agent use a tool, so that it costs one model call."""
METRICS = ("agent_requests_total", "agent_request_duration_seconds", "agent_tasks_enqueued_total")


Tell = Callable[[Finding], None]
Step = Callable[[Client], Finding]


def examine(client: Client, seconds: float, tell: Tell) -> None:
    """Tells each finding when it is made. `seconds`: how long the task may take until it is done. Interrupted, it
    cancels the task.
    """
    health = _timed(Check.REMOTE_HEALTH, client, _health)
    tell(health)
    if health.level is not Level.OK:
        return  # nobody there, or somebody else
    tell(_timed(Check.REMOTE_READY, client, _ready))
    _task(client, seconds, tell)
    tell(_timed(Check.REMOTE_METRICS, client, _metrics))


def _timed(check: Check, client: Client, step: Step) -> Finding:
    began = time.monotonic()
    try:
        found = step(client)
    except LonghaulError as error:
        found = _refused(check, error, client)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        found = failure(
            check,
            f"the answer has another shape than promised: {type(error).__name__} {error}",
            "Is --url a gateway of Longhaul, of a version near this one's?",
        )
    return replace(found, ms=(time.monotonic() - began) * 1000)


def _refused(check: Check, error: LonghaulError, client: Client) -> Finding:
    says, _, remedy = str(explained(error, client)).partition(". ")
    if error.status == 401:
        says, remedy = (
            f"{client.url} takes no such key",
            "Give one of its keys: LONGHAUL_API_KEY, --key @FILE or --key -.",
        )
    return failure(check, says.rstrip("."), remedy or "docs/troubleshooting.md has this message.")


def _health(client: Client) -> Finding:
    status = client.request("GET", "/health").json()["status"]
    if status != "healthy":
        return failure(Check.REMOTE_HEALTH, f"status is {status}", "Look at the gateway's log.")
    return ok(Check.REMOTE_HEALTH, f"{client.url} is up")


def _ready(client: Client) -> Finding:
    try:
        body = client.request("GET", "/ready").json()
    except LonghaulError as error:
        checks: Any = error.problem.get("checks")
        if not checks:
            raise
        return failure(Check.REMOTE_READY, _amiss(checks), "Run manage.py doctor on that machine.")
    if body["status"] != "ready":
        return warning(Check.REMOTE_READY, _amiss(body["checks"]), "Run manage.py doctor on that machine.")
    return ok(Check.REMOTE_READY, "Redis answers, a worker is alive, tasks are taken")


def _amiss(checks: Any) -> str:
    return " ".join(f"{name}: {check['detail']}" for name, check in checks.items() if not check["ok"])


def _task(client: Client, seconds: float, tell: Tell) -> None:
    key = secrets.token_hex(16)
    submitted: list[Submitted] = []

    def submit(client: Client) -> Finding:
        submitted.append(client.submit(QUESTION, idempotency_key=key))
        return ok(Check.REMOTE_SUBMIT, f"task {submitted[0].task_id}")

    try:
        tell(_timed(Check.REMOTE_SUBMIT, client, submit))
        for one in submitted:
            tell(_timed(Check.REMOTE_TASK, client, partial(_followed, one.task_id, seconds)))
    except KeyboardInterrupt:
        with contextlib.suppress(LonghaulError):
            # the same key again is the same task: so its id is known although the answer was lost
            client.cancel((submitted or [client.submit(QUESTION, idempotency_key=key)])[0].task_id)
        raise


def _followed(task_id: str, seconds: float, client: Client) -> Finding:
    try:
        task = client.wait(task_id, seconds)
    except NotFinalError as error:
        with contextlib.suppress(LonghaulError):
            client.cancel(task_id)
        status = "unknown" if error.task is None else error.task.status
        return failure(
            Check.REMOTE_TASK,
            f"task {task_id} was still {status} after {seconds:g} s, and was cancelled",
            "Run manage.py why with its id on that machine, or give it longer: --wait.",
        )
    return _ended(task)


def _ended(task: Task) -> Finding:
    if task.status != "success":
        return failure(
            Check.REMOTE_TASK,
            f"it {task.status} on {task.model} ({task.error_code}): {task.error}",
            f"docs/error-codes.md explains {task.error_code}; manage.py models test there tries the model's key.",
        )
    made_up = ", SIMULATED: no language model ran" if task.simulated else ""
    waited, ran = task.queued_ms or 0, task.duration_ms or 0
    return ok(Check.REMOTE_TASK, f"waited {waited} ms, ran {ran} ms on {task.model}{made_up}")


def _metrics(client: Client) -> Finding:
    try:
        page = client.request("GET", "/metrics").text
    except LonghaulError as error:
        return warning(
            Check.REMOTE_METRICS,
            f"cannot be read from here ({error.status or error.code})",
            "A proxy may keep them in, and rightly: then read them where Prometheus does.",
        )
    missing = [name for name in METRICS if name not in page]
    if missing:
        return failure(
            Check.REMOTE_METRICS,
            f"there is no {', '.join(missing)}",
            "Is --url a gateway of Longhaul, or a proxy's page?",
        )
    series = sum(not line.startswith("#") for line in page.splitlines())
    return ok(Check.REMOTE_METRICS, f"{series} series")
