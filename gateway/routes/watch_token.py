"""POST /task/{task_id}/watch-token: a key to one task's events, for a browser."""

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from gateway.answers import answer
from gateway.openapi import problems
from gateway.running import caller_of, gateway_of
from gateway.schemas import WatchToken
from gateway.waiting import demand_id


async def watch_token(request: Request, task_id: str) -> Response:
    """For WATCH_TOKEN_SECONDS whoever has it may connect to this task's events, and do nothing else."""
    gateway = gateway_of(request)
    await gateway.store.get(demand_id(task_id), caller_of(request).may_touch)
    token, expires_at = await gateway.watch_tokens.issue(task_id)
    path = f"/task/{task_id}/events?watch_token={token}"
    return answer(WatchToken(task_id=task_id, watch_token=token, expires_at=expires_at, path=path))


def add(app: FastAPI) -> None:
    app.add_api_route(
        "/task/{task_id}/watch-token",
        watch_token,
        methods=["POST"],
        response_model=WatchToken,
        responses=problems(
            "unauthorized", "forbidden_host", "task_not_found", "invalid_request", "store_unavailable", "storage_full"
        ),
        tags=["tasks"],
    )
