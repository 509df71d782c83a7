"""Waiting for a task: woken by its events, through a Redis that goes away and comes back, short at a shutdown, and over
as soon as the client has gone.
"""

import asyncio
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from monitoring import log_context
from taskstore.errors import StoreUnavailable, TaskNotFound
from taskstore.records import TaskRecord

from .running import Gateway

AGAIN_AFTER_S = 0.25
CANCEL_AGAIN_AFTER_S = 0.1

_TASK_ID = re.compile(r"[0-9a-f]{32}")


class ClientGoneError(Exception):
    """Nobody is there any more to read an answer. The task goes on."""


class NobodyThere(Response):
    """The answer to a client that has gone: nothing is sent, and the edge counts the call as left."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pass


def demand_id(text: str) -> str:
    """The text, when it can be an id; from here on the request's log lines have it. Else TaskNotFound without a round
    trip: it looks like an unknown one.
    """
    if not _TASK_ID.fullmatch(text):
        raise TaskNotFound
    log_context.bind(task=text)
    return text


async def look_or_wait(gateway: Gateway, task_id: str, caller: str, seconds: float, request: Request) -> TaskRecord:
    """The record when it is final, else as `wait_for` answers. Raises at once when the first look fails."""
    record = await gateway.store.get(task_id, caller)
    if record.is_final:
        return record
    return await wait_for(gateway, task_id, caller, seconds, request)


async def wait_for(gateway: Gateway, task_id: str, caller: str, seconds: float, request: Request) -> TaskRecord:
    """The record when it is final, else as it stands after `seconds` or at a shutdown. A store that is away is waited
    out: StoreUnavailable comes only when it is still away at the end. Raises ClientGoneError as soon as whoever sent
    the request, whose body was read, has gone: a wait holds a subscription, and looks at its task at every event.
    """
    follow = asyncio.create_task(_follow(gateway, task_id, caller, seconds))
    stop = asyncio.create_task(gateway.stopping.wait())
    leave = asyncio.create_task(left(request.receive))
    try:
        await asyncio.wait({follow, stop, leave}, return_when=asyncio.FIRST_COMPLETED)
        if follow.done():
            return follow.result()
        if leave.done():
            raise ClientGoneError
        return await gateway.store.get(task_id, caller)
    finally:
        await _end(follow, stop, leave)


async def left(receive: Receive) -> None:
    """Returns when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _end(*tasks: "asyncio.Task[Any]") -> None:
    """Cancels them until they have ended: a cancel that reaches redis-py while it connects can be lost in it."""
    going: set[asyncio.Task[Any]] = set(tasks)
    while going:
        for one in going:
            one.cancel()
        _, going = await asyncio.wait(going, timeout=CANCEL_AGAIN_AFTER_S)
    for one in tasks:
        if not one.cancelled():
            one.exception()  # of one that nobody asks for any more: looked at, so that it is not logged


async def _follow(gateway: Gateway, task_id: str, caller: str, seconds: float) -> TaskRecord:
    clock = asyncio.get_running_loop().time
    until = clock() + seconds
    while True:
        try:
            return await gateway.watcher.wait_final(
                gateway.store, task_id, caller=caller, timeout_s=max(0.0, until - clock())
            )
        except StoreUnavailable:
            if clock() >= until:
                raise
            await asyncio.sleep(AGAIN_AFTER_S)
