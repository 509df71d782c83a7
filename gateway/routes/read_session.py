"""GET /session/{session_id}: what a session remembers."""

from typing import Annotated

from fastapi import FastAPI, Query
from starlette.requests import Request
from starlette.responses import Response

from gateway.answers import answer
from gateway.openapi import problems
from gateway.running import caller_of, gateway_of
from gateway.session_view import SessionQuery, SessionView, whose
from taskstore.errors import SessionNotFound


async def read_session(request: Request, session_id: str, query: Annotated[SessionQuery, Query()]) -> Response:
    """The turns that the session remembers. A session is named by its id and its `user_id`, if it has one."""
    caller = whose(caller_of(request), query.caller)
    if caller is None:
        raise SessionNotFound
    return answer(SessionView.of(await gateway_of(request).store.sessions.read(caller, session_id, query.user_id)))


def add(app: FastAPI) -> None:
    app.add_api_route(
        "/session/{session_id:path}",
        read_session,
        methods=["GET"],
        response_model=SessionView,
        responses=problems(
            "unauthorized", "forbidden_host", "session_not_found", "invalid_request", "store_unavailable"
        ),
        tags=["sessions"],
    )
