"""A task as its caller reads it: steps, what it has said so far, and when it may be done."""

import math
from datetime import timedelta

from taskstore.estimate import Look, ms_left
from taskstore.records import TaskRecord
from taskstore.steps import steps_of

from .running import Gateway
from .task_view import TaskView

POLL_AFTER_S = (1, 30)
"""What `Retry-After` of a task that is not final asks for, at least and at most."""
OF_WHAT_IS_LEFT = 2
"""Polls come after half of what is left: as many as it takes to halve it down to a second."""
OF_ITS_AGE = 10
"""While nobody knows, polls come after a tenth of the task's age: each answer is at most that much late."""


async def view_of(gateway: Gateway, task: TaskRecord, caller: str) -> tuple[TaskView, int | None]:
    """The body of `GET /task/{task_id}` for a record that was just read, and in how many seconds to ask again; None of
    a final task. Raises as `TaskStore.look` does.
    """
    if task.is_final and not task.steps:  # there is nothing more to read
        return TaskView.of(task, simulated=gateway.models.simulated(task)), None
    return await look(gateway, task.task_id, caller)


async def look(gateway: Gateway, task_id: str, caller: str) -> tuple[TaskView, int | None]:
    """The same of a task that was not read before, in one round trip."""
    seen = await gateway.store.look(task_id, caller)
    task, left_ms = seen.record, ms_left(seen.record, seen.outlook, gateway.models.registry)
    view = TaskView.of(task, steps_of(task, seen.events), eta_ms=left_ms, simulated=gateway.models.simulated(task))
    return view, poll_after_s(seen, left_ms)


def poll_after_s(seen: Look, left_ms: float | None) -> int | None:
    """In how many seconds it is worth asking again, when it is `left_ms` until its end or nobody knows how long."""
    if seen.outlook is None:
        return None
    if left_ms is None:
        wait_ms = (seen.outlook.now - seen.record.created_at) / timedelta(milliseconds=OF_ITS_AGE)
    else:
        wait_ms = left_ms / OF_WHAT_IS_LEFT
    least, most = POLL_AFTER_S
    return max(least, min(most, math.ceil(max(wait_ms, seen.outlook.due_ms) / 1000)))
