"""GET /task/{task_id}/events: what happens to a task, as it happens."""

import re
from typing import Annotated

from fastapi import FastAPI, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from gateway.event_frames import DATA, EVENT_SCHEMA, RESULT_SUFFIX
from gateway.event_stream import MEDIA_TYPE, EventStream
from gateway.openapi import problems
from gateway.problems import Problem, invalid
from gateway.running import Gateway, caller_of, gateway_of
from gateway.schemas import EventsQuery
from gateway.waiting import demand_id
from taskstore.stream import order_of

_EVENT_ID = re.compile(r"\d{1,19}-\d{1,19}")
_SHOWN = ", ".join(f"`{name}` (`{data.__name__}`)" for name, data in DATA.items())
DESCRIPTION = f"Server-sent events: {_SHOWN}, and at the end `result` (`TaskView`). docs/events.md explains them."

LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", description="The `id` of the last event that was seen: the stream goes on after it."),
]


async def task_events(
    request: Request, task_id: str, query: Annotated[EventsQuery, Query()], last_event_id: LastEventId = None
) -> Response:
    """Everything that has happened to the task and everything that will, up to its result. 204 when the client has seen
    the result already, which tells a browser to stop asking.
    """
    gateway = gateway_of(request)
    record = await gateway.store.get(demand_id(task_id), caller_of(request).may_touch)
    # a browser that comes back sends the header, and the address that it was given first
    where = "header", "Last-Event-ID"
    given = last_event_id
    if not given and query.from_:
        where, given = ("query", "from"), query.from_
    after, seen_result = await _place(gateway, task_id, given, where) if given else (None, False)
    if seen_result and record.is_final:
        page = await gateway.follower.reader.after(task_id, after)
        if not page.events:
            return Response(status_code=204)
    return EventStream(gateway, task_id, after=after, final=record.is_final, tokens=query.tokens)


async def _place(gateway: Gateway, task_id: str, given: str, where: tuple[str, str]) -> tuple[str, bool]:
    """The event after which to go on, and whether the result that followed it was seen. Raises Problem."""
    after = given.removesuffix(RESULT_SUFFIX)
    if not _EVENT_ID.fullmatch(after):
        raise _unknown(where)
    page = await gateway.follower.reader.after(task_id, after)
    if page.missed:
        first = await gateway.follower.reader.after(task_id, None)
        trimmed = first.missed and order_of(after) < order_of(first.events[0].id)
        if not trimmed:
            raise _unknown(where)
    return after, after != given


def _unknown(where: tuple[str, str]) -> Problem:
    text = (
        "is no id of an event of this task. Send the `id` of the last event that you got, or none to get all events "
        "from the first"
    )
    return invalid([{"loc": list(where), "msg": text, "type": "unknown_event"}], "unknown_event")


def add(app: FastAPI) -> None:
    app.add_api_route(
        "/task/{task_id}/events",
        task_events,
        methods=["GET"],
        response_class=EventStream,
        responses={
            200: {"description": DESCRIPTION, "content": {MEDIA_TYPE: {"schema": EVENT_SCHEMA}}},
            204: {"description": "The client has seen the result, and nothing has happened since."},
            **problems(
                "unauthorized",
                "watch_token_expired",
                "forbidden_host",
                "task_not_found",
                "invalid_request",
                "unknown_event",
                "store_unavailable",
            ),
        },
        tags=["tasks"],
    )
