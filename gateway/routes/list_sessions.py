"""GET /sessions: the caller's sessions."""

from typing import Annotated

from fastapi import FastAPI, Query
from starlette.requests import Request
from starlette.responses import Response

from gateway.answers import answer
from gateway.openapi import problems
from gateway.running import caller_of, gateway_of
from gateway.session_view import SessionList, SessionsQuery, whose
from taskstore.listing import Cursor
from taskstore.sessions import SessionPage


async def list_sessions(request: Request, query: Annotated[SessionsQuery, Query()]) -> Response:
    """Your sessions, those first in which something happened last. An admin may ask for another caller's."""
    caller = whose(caller_of(request), query.caller)
    page = SessionPage([], None, stopped_early=False)
    if caller is not None:
        after = None if query.cursor is None else Cursor.parse(query.cursor)
        sessions = gateway_of(request).store.sessions
        page = await sessions.list(caller, limit=query.limit, after=after, user_id=query.user_id)
    return answer(SessionList.of(page))


def add(app: FastAPI) -> None:
    app.add_api_route(
        "/sessions",
        list_sessions,
        methods=["GET"],
        response_model=SessionList,
        responses=problems("unauthorized", "forbidden_host", "invalid_request", "store_unavailable"),
        tags=["sessions"],
    )
