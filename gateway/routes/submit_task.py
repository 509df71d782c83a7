"""POST /task: writes a task and answers its id."""

import re
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from gateway.answers import answer
from gateway.body import JsonRequest
from gateway.openapi import problems
from gateway.quick import QuickRoute
from gateway.running import gateway_of
from gateway.schemas import TaskAccepted, TaskBody, wire_status
from gateway.submission import BODY_PROBLEMS, LONGEST_IDEMPOTENCY_KEY, IdempotencyKey, Traceparent, submit
from taskstore.records import Kind

_KEY = re.compile(rf"[\x21-\x7e]{{1,{LONGEST_IDEMPOTENCY_KEY}}}")


async def submit_task(
    request: Request, body: TaskBody, idempotency_key: IdempotencyKey = None, traceparent: Traceparent = None
) -> Response:
    """Queues a task. The answer comes as soon as it is written; follow it with `GET /task/{task_id}`."""
    submitted = await submit(request, body, Kind.BATCH, idempotency_key, traceparent)
    accepted = TaskAccepted(
        task_id=submitted.task_id, status=wire_status(submitted.status), created_at=submitted.created_at
    )
    return answer(accepted, headers={"Location": f"/task/{submitted.task_id}"})


class SubmitRoute(QuickRoute):
    async def arguments(self, request: JsonRequest) -> Mapping[str, Any] | None:
        key = request.headers.get("idempotency-key")
        if key is not None and not _KEY.fullmatch(key):
            return None
        await request.load(gateway_of(request).settings.max_body_bytes)
        try:
            body = TaskBody.model_validate(await request.json())
        except ValidationError:
            return None
        return {"body": body, "idempotency_key": key, "traceparent": request.headers.get("traceparent")}


def add(app: FastAPI) -> None:
    app.router.add_api_route(
        "/task",
        submit_task,
        methods=["POST"],
        response_model=TaskAccepted,
        responses=problems(*BODY_PROBLEMS),
        tags=["tasks"],
        route_class_override=SubmitRoute,
    )
