"""Tasks of Alice's session `chat`, and a worker that takes and settles them."""

from taskstore.claims import Claim, SettleKind, Settlement
from taskstore.records import NewTask
from taskstore.store import TaskStore

MODELS = {"M": None}


def new(task_id: str, *, session: str | None = "chat", **fields: object) -> NewTask:
    return NewTask(task_id=task_id, caller="alice", message=f"ask {task_id}", model="M", session_id=session, **fields)  # type: ignore[arg-type]  # each test names real ones


class Runner:
    """Claims and settles, a claim number for each."""

    def __init__(self, store: TaskStore) -> None:
        self.store = store
        self.number = 0

    async def take(self) -> list[Claim]:
        self.number += 1
        return list((await self.store.claim("w1", self.number, room=10, extra=1, models=MODELS)).tasks)

    async def take_one(self, task_id: str) -> Claim:
        (task,) = await self.take()
        assert task.task_id == task_id
        return task

    async def settle(self, task: Claim, kind: SettleKind, **data: object) -> None:
        settlement = Settlement(task_id=task.task_id, fence=task.fence, kind=kind, **data)  # type: ignore[arg-type]  # as above
        assert await self.store.settle([settlement]) == ["ok"]
