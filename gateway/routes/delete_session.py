"""DELETE /session/{session_id}: forgets what a session remembers."""

from typing import Annotated

from fastapi import FastAPI, Query
from starlette.requests import Request
from starlette.responses import Response

from gateway.answers import answer
from gateway.openapi import problems
from gateway.running import caller_of, gateway_of
from gateway.session_view import SessionDeleted, SessionQuery, whose


async def delete_session(request: Request, session_id: str, query: Annotated[SessionQuery, Query()]) -> Response:
    """Deletes all its turns, at once and for good. Tasks of it that are queued or run go on, and are not remembered;
    their records are kept as long as every task's. Asking twice changes nothing.
    """
    caller = whose(caller_of(request), query.caller)
    turns = None
    if caller is not None:
        turns = await gateway_of(request).store.sessions.forget(caller, session_id, query.user_id)
    return answer(
        SessionDeleted(session_id=session_id, user_id=query.user_id, deleted=turns is not None, turns=turns or 0)
    )


def add(app: FastAPI) -> None:
    app.add_api_route(
        "/session/{session_id:path}",
        delete_session,
        methods=["DELETE"],
        response_model=SessionDeleted,
        # no route is what a path with a line break gets, which no session's name can hold
        responses=problems("unauthorized", "forbidden_host", "not_found", "invalid_request", "store_unavailable"),
        tags=["sessions"],
    )
