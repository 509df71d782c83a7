"""POST /chat/stream: a task in the interactive lane, and its events as they come, with what the models say."""

import asyncio
import logging

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from gateway.event_frames import DATA, EVENT_SCHEMA
from gateway.event_stream import MEDIA_TYPE, EventStream
from gateway.openapi import problems
from gateway.running import Gateway, caller_of, gateway_of
from gateway.schemas import ChatStreamBody
from gateway.submission import BODY_PROBLEMS, IdempotencyKey, Traceparent, submit
from taskstore.errors import StoreUnavailable, TaskNotFound, WrongStatus
from taskstore.records import Kind

CANCEL_AGAIN_AFTER_S = 0.5
CANCEL_TRIES = 60

_SHOWN = ", ".join(f"`{name}` (`{data.__name__}`)" for name, data in DATA.items())
DESCRIPTION = (
    f"Server-sent events as `GET /task/{{task_id}}/events?tokens=true` has them: {_SHOWN}, and at the end `result` "
    "(`TaskView`), also of a task that failed. Each names the `task_id`, to resume there. docs/chat-stream.md explains."
)

log = logging.getLogger(__name__)


async def chat_stream(
    request: Request, body: ChatStreamBody, idempotency_key: IdempotencyKey = None, traceparent: Traceparent = None
) -> Response:
    """Runs the message before queued tasks and streams what happens: steps, what the models say, the result, however
    long it takes. When you go away the task goes on, unless `on_disconnect` is `cancel`.
    """
    gateway, caller = gateway_of(request), caller_of(request)
    submitted = await submit(request, body, Kind.INTERACTIVE, idempotency_key, traceparent)

    async def cancel() -> None:
        await _cancel(gateway, submitted.task_id, caller.may_touch)

    stream = EventStream(
        gateway,
        submitted.task_id,
        final=submitted.status.is_final,
        tokens=True,
        on_leave=cancel if body.on_disconnect == "cancel" else None,
    )
    # before the first event there may be a wait, for a Redis that went away just now
    stream.headers["Location"] = f"/task/{submitted.task_id}"
    return stream


async def _cancel(gateway: Gateway, task_id: str, caller: str) -> None:
    """Of a client that went away, so nobody is told: a store that is away is asked again for a while."""
    for _ in range(CANCEL_TRIES):
        try:
            status = await gateway.store.cancel(task_id, caller)
        except StoreUnavailable:
            await asyncio.sleep(CANCEL_AGAIN_AFTER_S)
        except (TaskNotFound, WrongStatus):  # it has ended
            return
        else:
            log.info("cancel_requested", extra={"status": status.value, "cause": "its client went away"})
            return
    log.error("cancel_failed", extra={"cause": "its client went away, and Redis did not answer"})


def add(app: FastAPI) -> None:
    app.add_api_route(
        "/chat/stream",
        chat_stream,
        methods=["POST"],
        status_code=200,
        response_class=EventStream,
        responses={
            200: {"description": DESCRIPTION, "content": {MEDIA_TYPE: {"schema": EVENT_SCHEMA}}},
            **problems(*BODY_PROBLEMS),
        },
        tags=["tasks"],
    )
