"""The body of `GET /task/{task_id}`: a task and its steps as their caller sees them."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field

from taskstore.records import TaskRecord
from taskstore.states import Status
from taskstore.steps import Step

from .schemas import Stamp, TaskStatus, wire_status


class StepView(BaseModel):
    """A call of a model or a tool, or a step that the agent's code tells of. Its texts are cut and hold no secret."""

    attempt: int
    number: int = Field(description="From 1 within its run.")
    kind: Literal["model", "tool", "step"]
    name: str
    state: Literal["running", "done", "failed", "unfinished"] = Field(
        description="`unfinished`: its attempt ended without it, as when its worker was lost."
    )
    started_at: Stamp
    duration_ms: int | None
    arguments: str | None
    result: str | None
    error: str | None
    token_usage: dict[str, int] | None
    cost_usd: float | None = Field(description="Null for a tool, and for a model call whose price is unknown.")

    @classmethod
    def of(cls, step: Step) -> "StepView":
        return cls(
            attempt=step.attempt,
            number=step.number,
            kind=step.kind,
            name=step.name,
            state=step.state,
            started_at=step.started_at,
            duration_ms=step.duration_ms,
            arguments=step.arguments,
            result=step.result,
            error=step.error,
            token_usage=None if step.usage is None else step.usage.as_dict(),
            cost_usd=step.cost_usd,
        )


class TaskView(BaseModel):
    """A task as its caller sees it. Times are UTC, durations milliseconds."""

    task_id: str
    status: TaskStatus
    phase: Literal["retrying"] | None = Field(description="More on `pending`: an attempt failed, the next one comes.")
    result: str | None
    result_json: Any = Field(
        description="The answer as a JSON value, when the task has an `output_schema` or its agent answers with data."
    )
    error: str | None
    error_code: str | None
    duration_ms: int | None = Field(description="Run of the last attempt.")
    queued_ms: int | None = Field(description="Wait before that attempt.")
    token_usage: dict[str, int] | None = Field(description="Tokens of all model calls, summed.")
    cost_usd: float | None = Field(description="Null when any call's price is unknown.")
    created_at: Stamp
    started_at: Stamp | None
    completed_at: Stamp | None
    cancel_requested_at: Stamp | None
    interrupted_by: str | None = Field(description="The task of its session that asked for its cancel.")
    run_at: Stamp | None
    deadline_at: Stamp | None
    model: str
    agent: str
    priority: int
    attempt: int = Field(description="From 1; 0 before the first.")
    queue_position: int | None = Field(description="Tasks of its lane that come first; null unless it is ready to run.")
    eta_s: float | None = Field(
        description="Seconds until it is expected to be final, from how long such tasks took; null when too little is "
        "known. See docs/polling.md."
    )
    session_id: str | None
    user_id: str | None
    metadata: dict[str, Any]
    input: dict[str, Any] | None = Field(description="As it was given; null when there was a `message`.")
    output_schema: dict[str, Any] | None
    partial: str | None = Field(description="What it has said so far, or had said when it ended without success.")
    simulated: bool = Field(description="The answer is made up by the simulator.")
    trace_url: str | None = Field(description="Where its trace can be seen, by who may log in there; null without one.")
    steps: list[StepView] = Field(description="Model and tool calls of all attempts so far.")
    steps_dropped: int = Field(description="Beginnings and ends of calls that are not kept, for being too many.")

    @classmethod
    def of(
        cls,
        task: TaskRecord,
        steps: Sequence[Step] = (),
        *,
        eta_ms: float | None = None,
        simulated: bool,
        trace_url: str | None = None,
    ) -> "TaskView":
        retrying = task.status is Status.RETRYING
        return cls(
            task_id=task.task_id,
            status=wire_status(task.status),
            phase="retrying" if retrying else None,
            result=task.result,
            result_json=task.result_json,
            error=task.error,
            error_code=task.error_code,
            duration_ms=task.duration_ms,
            queued_ms=task.queued_ms,
            token_usage=None if task.usage is None else task.usage.as_dict(),
            cost_usd=task.cost_usd,
            created_at=task.created_at,
            started_at=task.started_at,
            completed_at=task.completed_at,
            cancel_requested_at=task.cancel_requested_at,
            interrupted_by=task.interrupted_by,
            run_at=task.run_at,
            deadline_at=task.deadline_at,
            model=task.model,
            agent=task.agent,
            priority=task.priority,
            attempt=task.attempt,
            queue_position=task.queue_position,
            eta_s=None if eta_ms is None else round(eta_ms / 1000, 1),
            session_id=task.session_id,
            user_id=task.user_id,
            metadata=dict(task.metadata),
            input=task.input,
            output_schema=task.output_schema,
            partial=task.partial,
            simulated=simulated,
            trace_url=trace_url,
            steps=[StepView.of(step) for step in steps],
            steps_dropped=task.steps_dropped,
        )
