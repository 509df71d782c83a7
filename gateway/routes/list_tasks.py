"""GET /tasks: the caller's tasks, newest first."""

from typing import Annotated

from fastapi import FastAPI, Query
from starlette.requests import Request
from starlette.responses import Response

from gateway.answers import answer
from gateway.auth import Caller
from gateway.listing import ListQuery, TaskList
from gateway.openapi import problems
from gateway.running import caller_of, gateway_of
from taskstore.listing import TaskPage


async def list_tasks(request: Request, query: Annotated[ListQuery, Query()]) -> Response:
    """Your tasks, newest first. An admin sees every caller's, or those of the `caller` that it names."""
    gateway = gateway_of(request)
    whose = _whose(caller_of(request), query.caller)
    page = TaskPage([], None, stopped_early=False)
    if whose is not None:
        page = await gateway.store.list_tasks(query.filter(), limit=query.limit, after=query.after(), caller=whose)
    return answer(TaskList.of(page, gateway.models))


def _whose(caller: Caller, named: str | None) -> str | None:
    """None for nobody's: who is no admin sees as much of another caller as of one that does not exist."""
    if caller.admin:
        return caller.may_touch if named is None else named
    return caller.name if named in {None, caller.name} else None


def add(app: FastAPI) -> None:
    app.add_api_route(
        "/tasks",
        list_tasks,
        methods=["GET"],
        response_model=TaskList,
        responses=problems("unauthorized", "forbidden_host", "invalid_request", "store_unavailable"),
        tags=["tasks"],
    )
