"""Longhaul's store in a benchmark of deep queues: fills it fast, and claims. Not for people.

    python -m operations.bench_store fill TASKS       submits so many, many at once in one process
    python -m operations.bench_store claim TASKS      claims so many, one at a time, for a worker that there is not

It stands here because loadtest imports nothing of ours. loadtest/bench/depth_study.py runs it on settings of the
benchmark's.
"""

import asyncio
import sys
import uuid

import uvloop

from core_config import Settings, resolve_active_model
from taskstore.connection import connect
from taskstore.records import NewTask
from taskstore.store import TaskStore

AT_ONCE = 64
AGENT, CALLER = "nothing", "bench"


async def fill(store: TaskStore, model: str, tasks: int) -> None:
    left = iter(range(tasks))

    async def one_after_another() -> None:
        for _ in left:
            await store.submit(
                NewTask(task_id=uuid.uuid4().hex, caller=CALLER, message="wait", model=model, agent=AGENT)
            )

    await asyncio.gather(*(one_after_another() for _ in range(AT_ONCE)))


async def claim(store: TaskStore, model: str, tasks: int) -> None:
    """Raises SystemExit when there were not so many to claim."""
    for number in range(1, tasks + 1):
        found = await store.claim(f"bench-{uuid.uuid4().hex}", number, room=1, extra=0, models={model: None})
        if len(found.tasks) != 1:
            raise SystemExit(f"claim {number} of {tasks} found {len(found.tasks)} tasks")


async def main() -> None:
    settings, (what, tasks) = Settings(), sys.argv[1:3]
    store, model = TaskStore(connect(settings.redis_address), settings), resolve_active_model(settings)
    await (fill if what == "fill" else claim)(store, model, int(tasks))
    await store.redis.aclose()


if __name__ == "__main__":
    uvloop.run(main())
