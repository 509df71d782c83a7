"""What can go wrong with a call.

    LonghaulError
        UnreachableError    no answer: the gateway is away, or its name is unknown
        NotFinalError       a task did not end within the time; also a TimeoutError
        TaskFailed          the result was asked for of a task that has none

A wrong argument is a ValueError, before anything is sent.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longhaul_client.task import Task


class LonghaulError(Exception):
    """The gateway's refusal, or none that can be read."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        problem: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        """From docs/problems.md. `http_<status>` of an answer that is no problem, as of a proxy between; `bad_answer`
        of one that cannot be read; `unreachable`, `not_final` and `task_failed` of the classes below."""
        self.detail = detail
        """A sentence for people: what is wrong and what to do."""
        self.status = status
        """Of HTTP; None when there was no answer."""
        self.retry_after_s = retry_after_s
        self.problem: Mapping[str, Any] = problem or {}
        """The whole body, such as `errors` of a 422 and `busy_task_id` of a `session_busy`."""

    @property
    def task_id(self) -> str | None:
        """Of the task that the answer is about, when it names one."""
        found = self.problem.get("task_id")
        return found if isinstance(found, str) else None

    @property
    def is_passing(self) -> bool:
        """Whether the same call may go through later. One about a task that exists is no reason to send it again."""
        if self.status == 429:
            return self.retry_after_s is not None
        return self.status in {502, 503, 504} and self.task_id is None


class UnreachableError(LonghaulError):
    """There was no answer. What was sent may have arrived."""

    def __init__(self, detail: str, reason: str, *, hopeless: bool = False) -> None:
        super().__init__("unreachable", f"{detail}: {reason}")
        self.reason = reason
        """What happened to the connection, without the address."""
        self._hopeless = hopeless

    @property
    def is_passing(self) -> bool:
        """False for what time does not heal, such as a name that is none."""
        return not self._hopeless


class NotFinalError(LonghaulError, TimeoutError):
    """The time was over before the task was. The task goes on."""

    def __init__(self, detail: str, task: "Task | None") -> None:
        super().__init__("not_final", detail)
        self.task = task
        """As it was last seen; None when it never was."""

    @property
    def task_id(self) -> str | None:
        return None if self.task is None else self.task.task_id


class TaskFailed(LonghaulError):  # noqa: N818  it is the task's end, named as its status is
    """The task ended without a result: `failed` or `cancelled`."""

    def __init__(self, task: "Task") -> None:
        why = f" ({task.error_code})" if task.error_code else ""
        super().__init__("task_failed", f"Task {task.task_id} is {task.status}{why}: {task.error}")
        self.task = task
        self.error_code = task.error_code
        """From docs/error-codes.md."""

    @property
    def task_id(self) -> str:
        return self.task.task_id
