"""The HTTP error body (RFC 9457) and the one table from exceptions to it. docs/problems.md lists the codes for clients;
a test compares the two.

What a client reads says what is wrong and what to do. It never holds a class name, a path, a key or a stack, and only a
500 holds a request id: every other answer to the same request is the same, byte for byte.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from taskstore.error_codes import ErrorCode
from taskstore.errors import (
    AgentUnavailable,
    IdempotencyConflict,
    QueueFull,
    SessionBusy,
    SessionNotFound,
    StorageFull,
    StoreError,
    StoreLoading,
    StoreUnavailable,
    TaskNotFound,
    WrongStatus,
)

from .noted import noted_of

MEDIA_TYPE = "application/problem+json"
QUEUE_FULL_RETRY_AFTER_S = 5
SESSION_RETRY_AFTER_S = 1
AGENT_RETRY_AFTER_S = 30
"""Somebody has to mend it, or its workers are being replaced."""
AGENT_PUBLIC_PROBLEM = "It cannot be run at present. Who operates this system sees why: manage.py status."


@dataclass(frozen=True, slots=True)
class Kind:
    status: int
    title: str


KINDS: Mapping[str, Kind] = {
    "unauthorized": Kind(401, "No valid API key"),
    "watch_token_expired": Kind(401, "Watch token expired"),
    "forbidden_host": Kind(403, "Host not served"),
    "admin_only": Kind(403, "For admins only"),
    "not_found": Kind(404, "No such route"),
    "task_not_found": Kind(404, "No such task"),
    "session_not_found": Kind(404, "No such session"),
    "method_not_allowed": Kind(405, "Method not allowed"),
    "idempotency_conflict": Kind(409, "Idempotency key used with another body"),
    "session_busy": Kind(409, "Another task has the session"),
    "wrong_status": Kind(409, "The task's status does not allow this"),
    "body_too_large": Kind(413, "Body too large"),
    "unsupported_media_type": Kind(415, "Body is not application/json"),
    "invalid_json": Kind(422, "Body is not valid JSON"),
    "invalid_request": Kind(422, "Invalid request"),
    "unknown_model": Kind(422, "Unknown model"),
    "unknown_agent": Kind(422, "Unknown agent"),
    "unknown_event": Kind(422, "Unknown event id"),
    "queue_full": Kind(429, "Queue full"),
    "internal": Kind(500, "Internal error"),
    "store_unavailable": Kind(503, "Task store unavailable"),
    "storage_full": Kind(503, "Task store full"),
    "agent_unavailable": Kind(503, "Agent unavailable"),
    "shutting_down": Kind(503, "Gateway is shutting down"),
    "chat_timeout": Kind(504, "The answer takes longer than this call waits"),
}

TASK_STATUSES: Mapping[ErrorCode, int] = {
    ErrorCode.MAX_ITERATIONS: 500,
    ErrorCode.PROVIDER_AUTH: 502,
    ErrorCode.PROVIDER_NO_BALANCE: 502,
    ErrorCode.PROVIDER_RATE_LIMITED: 502,
    ErrorCode.PROVIDER_UNAVAILABLE: 502,
    ErrorCode.PROVIDER_TIMEOUT: 504,
    ErrorCode.PROVIDER_BAD_RESPONSE: 502,
    ErrorCode.PROVIDER_BAD_REQUEST: 502,
    ErrorCode.MODEL_UNAVAILABLE: 502,
    ErrorCode.CONTENT_BLOCKED: 502,
    ErrorCode.CONTEXT_TOO_LONG: 502,
    ErrorCode.EMPTY_ANSWER: 502,
    ErrorCode.ANSWER_TRUNCATED: 502,
    ErrorCode.INVALID_OUTPUT: 502,
    ErrorCode.TOOL_OUTCOME_UNKNOWN: 500,
    ErrorCode.AGENT_UNKNOWN: 500,
    ErrorCode.AGENT_UNAVAILABLE: 503,
    ErrorCode.AGENT_FAILED: 500,
    ErrorCode.AGENT_REFUSED: 500,
    ErrorCode.AGENT_TRY_AGAIN: 500,
    ErrorCode.INVALID_AGENT_ANSWER: 500,
    ErrorCode.OUTPUT_TOO_LARGE: 500,
    ErrorCode.INTERNAL: 500,
    ErrorCode.ATTEMPT_TIMEOUT: 504,
    ErrorCode.DEADLINE_EXCEEDED: 504,
    ErrorCode.WORKER_LOST: 500,
    ErrorCode.CANCELLED: 409,
}
"""What `POST /chat` answers when its task did not succeed; the problem's code is then the task's `error_code`. 502 is
the model's side, 504 a time that ran out, 503 as at the submit, 500 ours."""


class Problem(Exception):  # noqa: N818  it is an answer, named as RFC 9457 names it
    """Raised anywhere below the edge; becomes the answer. `more` are further members of the body."""

    def __init__(self, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.code = code
        self.kind = KINDS[code]
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more

    def response(self) -> Response:
        return _body(self.code, self.kind, self.detail, self.more, self.headers)


class TaskFailed(Problem):
    """A task that `POST /chat` waited for did not succeed."""

    def __init__(self, error_code: str | None, detail: str, **more: Any) -> None:
        super().__init__("internal", detail, **more)
        self.code = error_code or ErrorCode.INTERNAL.value
        known = {code.value: status for code, status in TASK_STATUSES.items()}
        cancelled = self.code == ErrorCode.CANCELLED.value
        self.kind = Kind(known.get(self.code, 500), "The task was cancelled" if cancelled else "The task failed")


def invalid(errors: Sequence[Mapping[str, Any]], code: str = "invalid_request") -> Problem:
    """A 422 for these `{loc, msg, type}`; the detail says the first three in a sentence each."""
    said = [f"{'.'.join(map(str, error['loc'][1:])) or error['loc'][0]}: {error['msg']}" for error in errors[:3]]
    if len(errors) > len(said):
        said.append(f"and {len(errors) - len(said)} more")
    detail = "; ".join(said)
    return Problem(code, detail if detail.endswith(("?", ".")) else f"{detail}.", errors=list(errors))


def problem_of(error: Exception) -> Problem | None:
    """The problem that an exception means; None when it means none, which is a 500."""
    match error:
        case Problem():
            return error
        case TaskNotFound():
            return Problem(
                "task_not_found", "No task has this id: it never existed, its retention is over, or it is not yours."
            )
        case SessionNotFound():
            return Problem(
                "session_not_found",
                "No session has this session_id and user_id: it never existed, it expired or was deleted, or it is not "
                "yours.",
            )
        case SessionBusy():
            return Problem(
                "session_busy",
                f"Task {error.task_id} has this session, and on_busy_session is `reject`. Nothing was written; submit "
                "it again when that task is final.",
                headers={"Retry-After": str(SESSION_RETRY_AFTER_S)},
                busy_task_id=error.task_id,
            )
        case WrongStatus():
            return Problem("wrong_status", f"The task is {error.status} already.", task_status=error.status)
        case QueueFull():
            return Problem(
                "queue_full",
                f"{error.depth} tasks wait already, the most that this queue takes. Nothing was written; try later.",
                headers={"Retry-After": str(QUEUE_FULL_RETRY_AFTER_S)},
            )
        case AgentUnavailable():
            return Problem(
                "agent_unavailable",
                f"The agent {error.agent!r} is not available. {AGENT_PUBLIC_PROBLEM} Nothing was written; try later.",
                headers={"Retry-After": str(AGENT_RETRY_AFTER_S)},
            )
        case IdempotencyConflict():
            return Problem(
                "idempotency_conflict",
                "This Idempotency-Key was used with another body. Use a new key for a new task.",
            )
        case StorageFull():
            return Problem(
                "storage_full",
                "The task store takes no more writes. Nothing was written; try later.",
                headers={"Retry-After": str(error.retry_after_s)},
            )
        case StoreLoading():
            return Problem(
                "store_unavailable",
                "The task store has started again and is reading its data. Nothing was written; try again.",
                headers={"Retry-After": str(error.retry_after_s)},
            )
        case StoreUnavailable():
            return Problem(
                "store_unavailable",
                "The task store did not answer. Try again; a submit with the same Idempotency-Key never runs twice.",
                headers={"Retry-After": str(error.retry_after_s)},
            )
        case HTTPException(status_code=404):
            return Problem("not_found", "There is no such route. GET /openapi.json lists the routes.")
        case HTTPException(status_code=405):
            allowed = (error.headers or {}).get("Allow", "")
            return Problem("method_not_allowed", f"This route takes {allowed} only.", headers=error.headers)
    return None


def internal(request_id: str) -> Problem:
    return Problem(
        "internal",
        "Something went wrong on our side. The log holds the reason under this request id.",
        request_id=request_id,
    )


async def answer_problem(_: Request, error: Exception) -> Response:
    """The exception handler of the classes in HANDLED."""
    problem = problem_of(error)
    if problem is None:
        raise error
    return problem.response()


HANDLED: Sequence[type[Exception]] = (Problem, StoreError, HTTPException)


def _body(code: str, kind: Kind, detail: str, more: Mapping[str, Any], headers: Mapping[str, str]) -> Response:
    body = {
        "type": f"urn:longhaul:problem:{code}",
        "title": kind.title,
        "status": kind.status,
        "code": code,
        "detail": detail,
        **more,
    }
    return _ProblemResponse(code, orjson.dumps(body), kind.status, headers)


class _ProblemResponse(Response):
    media_type = MEDIA_TYPE

    def __init__(self, code: str, body: bytes, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(body, status, headers)
        self._code = code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        noted_of(scope).problem = self._code
        await super().__call__(scope, receive, send)
