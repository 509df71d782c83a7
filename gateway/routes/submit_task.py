"""POST /task: writes a task and answers its id."""

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from gateway.answers import answer
from gateway.openapi import problems
from gateway.schemas import TaskAccepted, TaskBody, wire_status
from gateway.submission import BODY_PROBLEMS, IdempotencyKey, Traceparent, submit
from taskstore.records import Kind


async def submit_task(
    request: Request, body: TaskBody, idempotency_key: IdempotencyKey = None, traceparent: Traceparent = None
) -> Response:
    """Queues a task. The answer comes as soon as it is written; follow it with `GET /task/{task_id}`."""
    submitted = await submit(request, body, Kind.BATCH, idempotency_key, traceparent)
    accepted = TaskAccepted(
        task_id=submitted.task_id, status=wire_status(submitted.status), created_at=submitted.created_at
    )
    return answer(accepted, headers={"Location": f"/task/{submitted.task_id}"})


def add(app: FastAPI) -> None:
    app.add_api_route(
        "/task",
        submit_task,
        methods=["POST"],
        response_model=TaskAccepted,
        responses=problems(*BODY_PROBLEMS),
        tags=["tasks"],
    )
