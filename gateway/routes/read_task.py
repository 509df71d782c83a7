"""GET /task/{task_id}: what became of a task, at once or as soon as it is final."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import FastAPI, Query
from starlette.requests import Request
from starlette.responses import Response

from gateway.answers import answer
from gateway.body import JsonRequest
from gateway.noted import noted_of
from gateway.openapi import problems
from gateway.quick import QuickRoute
from gateway.reading import POLL_AFTER_S, look, view_of
from gateway.running import caller_of, gateway_of
from gateway.schemas import WaitQuery
from gateway.task_view import TaskView
from gateway.waiting import ClientGoneError, NobodyThere, demand_id, look_or_wait

AT_ONCE = WaitQuery()

_LEAST, _MOST = POLL_AFTER_S
RETRY_AFTER = {
    "description": f"Seconds after which to ask again, {_LEAST} to {_MOST}; not of a final task.",
    "schema": {"type": "integer", "minimum": _LEAST, "maximum": _MOST},
}


async def read_task(request: Request, task_id: str, query: Annotated[WaitQuery, Query()]) -> Response:
    """The task as it stands. With `wait` the answer comes when it is final, or after that many seconds. Until it is
    final, `Retry-After` says in how many seconds to ask again. docs/polling.md explains.
    """
    gateway = gateway_of(request)
    caller = caller_of(request).may_touch
    try:
        if query.wait > 0:
            noted_of(request.scope).kind = "wait"
            task = await look_or_wait(gateway, demand_id(task_id), caller, query.wait, request)
            view, poll_after_s = await view_of(gateway, task, caller)
        else:
            view, poll_after_s = await look(gateway, demand_id(task_id), caller)
    except ClientGoneError:
        return NobodyThere()
    return answer(view, headers={} if poll_after_s is None else {"Retry-After": str(poll_after_s)})


class ReadRoute(QuickRoute):
    async def arguments(self, request: JsonRequest) -> Mapping[str, Any] | None:
        if request.scope["query_string"]:
            return None
        return {"task_id": request.path_params["task_id"], "query": AT_ONCE}


def add(app: FastAPI) -> None:
    app.router.add_api_route(
        "/task/{task_id}",
        read_task,
        methods=["GET"],
        response_model=TaskView,
        responses={
            200: {"headers": {"Retry-After": RETRY_AFTER}},
            **problems("unauthorized", "forbidden_host", "task_not_found", "invalid_request", "store_unavailable"),
        },
        tags=["tasks"],
        route_class_override=ReadRoute,
    )
