"""What the store can refuse.

StoreError
+-- StoreUnavailable      Redis did not answer in time: nothing is known of the write, ask again
|   +-- StoreLoading      Redis has started and reads its data: nothing was written
|   +-- StorageFull       Redis takes no more writes (memory, disk): nothing was written
+-- QueueFull             as many tasks wait as QUEUE_MAX_DEPTH allows: nothing was written
+-- AgentUnavailable      no worker can run the task's agent: nothing was written
+-- NeverDue              the task's time comes after its deadline: nothing was written
+-- SessionBusy           another task has the session, and this one was not to wait: nothing was written
+-- TaskNotFound          unknown, expired, or another caller's
+-- SessionNotFound       unknown, expired, deleted, or another caller's
+-- WrongStatus           the task's status does not allow the verb
|   +-- NotDead           it is no dead letter, or not the one that was seen: buried again since
+-- IdempotencyConflict   the key was used with another body
"""


class StoreError(Exception):
    pass


class StoreUnavailable(StoreError):  # noqa: N818  states of a store, not errors of a program
    retry_after_s = 1


class StoreLoading(StoreUnavailable):
    retry_after_s = 2


class StorageFull(StoreUnavailable):
    retry_after_s = 5


class QueueFull(StoreError):  # noqa: N818
    def __init__(self, depth: int) -> None:
        super().__init__(f"the queue holds its limit of {depth} waiting tasks")
        self.depth = depth


class AgentUnavailable(StoreError):  # noqa: N818
    def __init__(self, agent: str, problem: str) -> None:
        """`problem` is for operators: it may name files."""
        super().__init__(f"agent {agent!r} cannot be run: {problem}")
        self.agent = agent
        self.problem = problem


class NeverDue(StoreError):  # noqa: N818
    pass


class SessionBusy(StoreError):  # noqa: N818
    def __init__(self, task_id: str) -> None:
        super().__init__(f"task {task_id} has the session")
        self.task_id = task_id


class TaskNotFound(StoreError):  # noqa: N818
    pass


class SessionNotFound(StoreError):  # noqa: N818
    pass


class WrongStatus(StoreError):  # noqa: N818
    def __init__(self, status: str) -> None:
        super().__init__(f"the task's status is {status}")
        self.status = status


class NotDead(WrongStatus):
    pass


class IdempotencyConflict(StoreError):  # noqa: N818
    pass
