"""The bodies of `GET /tasks`: what can be asked, and what a task in a list shows."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from taskstore.listing import Cursor, TaskFilter, TaskPage
from taskstore.records import TaskRecord
from taskstore.states import Status

from .models import Models
from .schemas import Moment, Name, Sent, Stamp, TaskStatus, wire_status

LIMIT = 20
LONGEST_PAGE = 100
SHOWN_CHARS = 200


def _pair(text: str) -> str:
    if not text.partition("=")[0] or "=" not in text:
        raise ValueError("must be key=value")
    return text


def _each_once(pairs: list[str]) -> list[str]:
    names = [pair.split("=", 1)[0] for pair in pairs]
    if len(set(names)) < len(names):
        raise ValueError("names a key twice, and no task has two values of it")
    return pairs


def parsed_cursor(text: str) -> str:
    """The text. Raises ValueError when it is no cursor."""
    Cursor.parse(text)
    return text


class ListQuery(Sent):
    """Repeated parameters: any of the statuses, all of the metadata."""

    status: Annotated[list[TaskStatus], Field(max_length=6)] | None = Field(
        None, description="Any of these; `pending` are also those that wait for a retry."
    )
    session_id: Name | None = None
    user_id: Name | None = None
    agent: Name | None = None
    model: Name | None = Field(None, description="The model that it was submitted for.")
    metadata: Annotated[
        list[Annotated[Name, AfterValidator(_pair)]], Field(max_length=10), AfterValidator(_each_once)
    ] = Field(default_factory=list, description="`key=value`: a name of the metadata's top level and its value.")
    since: Moment | None = Field(None, description="Created at it or later: ISO 8601 with an offset.")
    until: Moment | None = Field(None, description="Created before it.")
    caller: Name | None = Field(None, description="An admin's: only this caller's tasks. Others see their own only.")
    limit: int = Field(LIMIT, ge=1, le=LONGEST_PAGE)
    cursor: Annotated[str, Field(max_length=100), AfterValidator(parsed_cursor)] | None = Field(
        None, description="`next_cursor` of the page before."
    )

    def filter(self) -> TaskFilter:
        statuses = None if self.status is None else {Status(status) for status in self.status}
        if statuses and Status.PENDING in statuses:
            statuses.add(Status.RETRYING)
        return TaskFilter(
            statuses=None if statuses is None else frozenset(statuses),
            session_id=self.session_id,
            user_id=self.user_id,
            agent=self.agent,
            model=self.model,
            metadata=dict(pair.split("=", 1) for pair in self.metadata),
            since=self.since,
            until=self.until,
        )

    def after(self) -> Cursor | None:
        return None if self.cursor is None else Cursor.parse(self.cursor)


class TaskSummary(BaseModel):
    """A task in a list. `GET /task/{task_id}` has its result and its steps."""

    task_id: str
    caller: str
    status: TaskStatus
    phase: Literal["retrying"] | None
    message: str = Field(description=f"Its first {SHOWN_CHARS} characters; of an `input`, those of its JSON.")
    error_code: str | None
    duration_ms: int | None
    queued_ms: int | None
    token_usage: dict[str, int] | None
    cost_usd: float | None
    created_at: Stamp
    started_at: Stamp | None
    completed_at: Stamp | None
    model: str
    agent: str
    attempt: int
    session_id: str | None
    user_id: str | None
    metadata: dict[str, Any]
    simulated: bool

    @classmethod
    def of(cls, task: TaskRecord, *, simulated: bool) -> "TaskSummary":
        cut = len(task.message) > SHOWN_CHARS
        return cls(
            task_id=task.task_id,
            caller=task.caller,
            status=wire_status(task.status),
            phase="retrying" if task.status is Status.RETRYING else None,
            message=task.message[: SHOWN_CHARS - 1] + "…" if cut else task.message,
            error_code=task.error_code,
            duration_ms=task.duration_ms,
            queued_ms=task.queued_ms,
            token_usage=None if task.usage is None else task.usage.as_dict(),
            cost_usd=task.cost_usd,
            created_at=task.created_at,
            started_at=task.started_at,
            completed_at=task.completed_at,
            model=task.model,
            agent=task.agent,
            attempt=task.attempt,
            session_id=task.session_id,
            user_id=task.user_id,
            metadata=dict(task.metadata),
            simulated=simulated,
        )


class TaskList(BaseModel):
    tasks: list[TaskSummary] = Field(description="Newest first.")
    next_cursor: str | None = Field(description="Goes on after this page; null when there is nothing more.")
    stopped_early: bool = Field(
        description="The page is not full because this call looked at as many tasks as it may: go on at `next_cursor`."
    )

    @classmethod
    def of(cls, page: TaskPage, models: Models) -> "TaskList":
        return cls(
            tasks=[TaskSummary.of(task, simulated=models.simulated(task)) for task in page.tasks],
            next_cursor=None if page.next is None else str(page.next),
            stopped_early=page.stopped_early,
        )
