"""Waiting for a task: woken by its events, through a Redis that goes away and comes back, and short at a shutdown."""

import asyncio
import re

from taskstore.errors import StoreUnavailable, TaskNotFound
from taskstore.records import TaskRecord

from .running import Gateway

AGAIN_AFTER_S = 0.25

_TASK_ID = re.compile(r"[0-9a-f]{32}")


def demand_id(text: str) -> str:
    """The text, when it can be an id. Else TaskNotFound without a round trip: it looks like an unknown one."""
    if not _TASK_ID.fullmatch(text):
        raise TaskNotFound
    return text


async def look_or_wait(gateway: Gateway, task_id: str, caller: str, seconds: float) -> TaskRecord:
    """The record when it is final, else as it stands after `seconds`. Raises at once when the first look fails."""
    record = await gateway.store.get(task_id, caller)
    if record.is_final or seconds <= 0:
        return record
    return await wait_for(gateway, task_id, caller, seconds)


async def wait_for(gateway: Gateway, task_id: str, caller: str, seconds: float) -> TaskRecord:
    """The record when it is final, else as it stands after `seconds` or at a shutdown. A store that is away is waited
    out: StoreUnavailable comes only when it is still away at the end.
    """
    follow = asyncio.create_task(_follow(gateway, task_id, caller, seconds))
    stop = asyncio.create_task(gateway.stopping.wait())
    try:
        await asyncio.wait({follow, stop}, return_when=asyncio.FIRST_COMPLETED)
        if follow.done():
            return follow.result()
        return await gateway.store.get(task_id, caller)
    finally:
        for one in (follow, stop):
            one.cancel()
        await asyncio.gather(follow, stop, return_exceptions=True)


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
