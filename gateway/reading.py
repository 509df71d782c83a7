"""A task as its caller reads it, steps included."""

from taskstore.records import TaskRecord
from taskstore.steps import Step, steps_of

from .running import Gateway
from .task_view import TaskView


async def view_of(gateway: Gateway, task: TaskRecord, caller: str) -> TaskView:
    """The body of `GET /task/{task_id}` for a record that was just read. Raises as `TaskStore.history` does."""
    steps: list[Step] = []
    if task.steps:  # the stream is read only when there is something in it to show
        history = await gateway.store.history(task.task_id, caller)
        task, steps = history.record, steps_of(history.record, history.events)
    return TaskView.of(task, steps, simulated=gateway.models.simulated(task))
