"""The calls, as HTTP: pure building, nothing is sent here."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Literal, TypedDict
from urllib.parse import quote

from longhaul_client.messages import Call

KEY_HEADER: Final = "idempotency-key"


class ChatFields(TypedDict, total=False):
    """What `chat` takes beside the message; docs of the fields stand in the gateway's `/docs`."""

    session_id: str
    user_id: str
    on_busy_session: Literal["enqueue", "reject", "interrupt"]
    model: str
    agent: str


class TaskFields(ChatFields, total=False):
    """What `submit` takes beside the message."""

    input: Mapping[str, Any]
    output_schema: Mapping[str, Any]
    priority: int
    deadline_s: float
    run_at: datetime
    stream: bool
    metadata: Mapping[str, Any]


def submitting(
    path: str, message: str | None, fields: Mapping[str, Any], idempotency_key: str | None, silence_s: float
) -> Call:
    """A call that makes a task, with a key that makes it one task however often it is sent.

    ValueError for a `run_at` without an offset and for what is no JSON.
    """
    body = {name: value for name, value in {"message": message, **fields}.items() if value is not None}
    if isinstance(run_at := body.get("run_at"), datetime):
        if run_at.tzinfo is None:
            raise ValueError("run_at has no time zone: give an aware datetime")
        body["run_at"] = run_at.isoformat()
    key = idempotency_key or uuid.uuid4().hex
    return with_body("POST", path, body, silence_s, {KEY_HEADER: key})


def looking(task_id: str, silence_s: float, wait_s: float = 0) -> Call:
    """`silence_s` beyond the wait that is asked for."""
    query = {"wait": f"{wait_s:.3f}"} if wait_s else {}
    return Call("GET", task_path(task_id), silence_s + wait_s, query)


def cancelling(task_id: str, silence_s: float) -> Call:
    return Call("POST", f"{task_path(task_id)}/cancel", silence_s)


def following(task_id: str, after: str | None, silence_s: float, *, tokens: bool) -> Call:
    headers = {"accept": "text/event-stream"} | ({} if after is None else {"last-event-id": after})
    return Call("GET", f"{task_path(task_id)}/events", silence_s, {"tokens": "true"} if tokens else {}, headers)


def with_body(method: str, path: str, body: object, silence_s: float, headers: Mapping[str, str]) -> Call:
    data = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    return Call(method, path, silence_s, headers={"content-type": "application/json", **headers}, body=data)


def task_path(task_id: str) -> str:
    """An id is part of the path, whatever somebody puts into it."""
    if not task_id:
        raise ValueError("the task id is empty")
    return f"/task/{quote(task_id, safe='')}"


def other(method: str, path: str, query: Mapping[str, str] | None, body: object, silence_s: float) -> Call:
    """A route that has no function here."""
    if not path.startswith("/"):
        raise ValueError(f"{path!r} is no path: it begins with /")
    if body is None:
        return Call(method, path, silence_s, query or {})
    return replace(with_body(method, path, body, silence_s, {}), query=query or {})
