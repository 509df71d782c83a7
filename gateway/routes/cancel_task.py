"""POST /task/{task_id}/cancel: ends a queued task at once, and asks a running one to stop."""

import logging

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from gateway.answers import answer
from gateway.openapi import problems
from gateway.running import caller_of, gateway_of
from gateway.schemas import CancelAnswer, wire_status
from gateway.waiting import demand_id

log = logging.getLogger(__name__)


async def cancel_task(request: Request, task_id: str) -> Response:
    """`cancelled`, or `running` when a worker holds it: it then stops within moments. Asking twice changes nothing."""
    status = await gateway_of(request).store.cancel(demand_id(task_id), caller_of(request).may_touch)
    log.info("cancel_requested", extra={"status": status.value})
    return answer(CancelAnswer(task_id=task_id, status=wire_status(status)))


def add(app: FastAPI) -> None:
    app.add_api_route(
        "/task/{task_id}/cancel",
        cancel_task,
        methods=["POST"],
        response_model=CancelAnswer,
        responses=problems(
            "unauthorized",
            "forbidden_host",
            "task_not_found",
            "wrong_status",
            "invalid_request",
            "store_unavailable",
            "storage_full",
        ),
        tags=["tasks"],
    )
