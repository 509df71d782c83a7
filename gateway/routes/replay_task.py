"""POST /task/{task_id}/replay: an operator gives a failed task new attempts, on another model if one is named."""

import logging

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from gateway.answers import answer
from gateway.openapi import problems
from gateway.problems import Problem
from gateway.running import caller_of, gateway_of
from gateway.schemas import ReplayAnswer, ReplayBody, wire_status
from gateway.submission import check_model
from gateway.waiting import demand_id
from taskstore.errors import WrongStatus
from taskstore.states import Status

log = logging.getLogger(__name__)


async def replay_task(request: Request, task_id: str, body: ReplayBody | None = None) -> Response:
    """A failed task goes on after the calls that it had finished, with its budgets new and no deadline; what it spent
    stays on it. For admins. Asking twice changes nothing: the second answer says how the replay stands.
    """
    gateway = gateway_of(request)
    if not caller_of(request).admin:
        # before anything is looked up: the answer is the same for one's own task, another's and none
        raise Problem("admin_only", "Only a key with admin rights may replay a task. Submit it anew instead.")
    task = await gateway.store.get(demand_id(task_id))
    named = None if body is None else body.model
    model = task.model if named is None else named
    if named is not None or task.status is Status.FAILED:
        # its own model too: one that has left the registry since would never be run by anybody
        check_model(model, gateway)
    try:
        status = await gateway.store.replay(task_id, model=named)
    except WrongStatus as error:
        now = wire_status(Status(error.status))
        raise Problem(
            "wrong_status", f"Only a task that failed can be replayed; this one is {now}.", task_status=now
        ) from None
    log.info("replay_requested", extra={"status": status.value, "model": model})
    return answer(ReplayAnswer(task_id=task_id, status=wire_status(status), model=model))


def add(app: FastAPI) -> None:
    app.add_api_route(
        "/task/{task_id}/replay",
        replay_task,
        methods=["POST"],
        response_model=ReplayAnswer,
        responses=problems(
            "unauthorized",
            "forbidden_host",
            "admin_only",
            "task_not_found",
            "wrong_status",
            "body_too_large",
            "unsupported_media_type",
            "invalid_json",
            "invalid_request",
            "unknown_model",
            "store_unavailable",
            "storage_full",
        ),
        tags=["tasks"],
    )
