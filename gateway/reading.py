"""A task as its caller reads it: steps, what it has said so far, and when it may be done."""

import math
from collections.abc import Sequence
from datetime import timedelta

from monitoring.traces.ids import trace_url_of
from taskstore.estimate import Look, ms_left
from taskstore.records import TaskRecord
from taskstore.steps import Step, steps_of

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
        return _view(gateway, task), None
    return await look(gateway, task.task_id, caller)


async def look(gateway: Gateway, task_id: str, caller: str) -> tuple[TaskView, int | None]:
    """The same of a task that was not read before, in one round trip."""
    seen = await gateway.store.look(task_id, caller)
    task, left_ms = seen.record, ms_left(seen.record, seen.outlook, gateway.models.registry)
    return _view(gateway, task, steps_of(task, seen.events), left_ms), poll_after_s(seen, left_ms)


def _view(gateway: Gateway, task: TaskRecord, steps: Sequence[Step] = (), left_ms: float | None = None) -> TaskView:
    return TaskView.of(
        task,
        steps,
        eta_ms=left_ms,
        simulated=gateway.models.simulated(task),
        trace_url=trace_url_of(gateway.settings, task.task_id, task.traceparent),
    )


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
