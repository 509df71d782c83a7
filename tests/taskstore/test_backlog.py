"""A backlog of days: nothing that waits is dropped for its age (arq forgets a job after 24 hours)."""

import pytest

from taskstore.store import TaskStore

from .edges import claim, sweep
from .state import Contents, ZSet
from .worlds import World, ready, retrying_ready, swept, with_task

DAYS_MS = 3 * 86_400_000


@pytest.mark.parametrize(("make", "attempt"), [(ready, 1), (retrying_ready, 2)])
async def test_a_task_that_waited_for_days_is_run(
    make: World, attempt: int, audited: TaskStore, contents: Contents
) -> None:
    now = await contents.clock()
    before = swept(with_task(make, created_at=now - DAYS_MS, queued_at=now - DAYS_MS))(now)
    before["caller:alice"] = ZSet(t1=now - DAYS_MS)
    await contents.seed(before)
    assert await sweep()(audited) == {}
    assert {key: await contents.client.ttl(contents.prefix + key) for key in ("task:t1", "events:t1", "ready:M:b")} == {
        "task:t1": -1, "events:t1": -1, "ready:M:b": -1,
    }  # fmt: skip
    assert await claim(audited) == [("t1", attempt, attempt)]
