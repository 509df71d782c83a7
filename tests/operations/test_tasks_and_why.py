"""`manage.py tasks` and `why` as an operator runs them: against a store, with no gateway."""

import json

from core_config import Settings
from taskstore.claims import Settlement
from taskstore.records import NewTask
from taskstore.store import TaskStore

from .conftest import Copy


async def test_tasks_lists_what_is_asked_for_and_why_tells_of_one(
    copy: Copy, store: TaskStore, settings: Settings
) -> None:
    environment = {"REDIS_URL": settings.redis_address, "KEY_PREFIX": settings.key_prefix}
    nothing = copy.manage("tasks", **environment)
    assert (nothing.returncode, "No task is like that" in nothing.stdout) == (0, True)
    for number in range(3):
        task = NewTask(
            task_id=f"{number:032x}", caller=f"c{number % 2}", message=f"question {number}\x1b[2J", model="M",
            user_id="u", metadata={"order": number},
        )  # fmt: skip
        await store.submit(task)
    await store.claim("w1", 1, room=1, extra=0, models={"M": None})
    await store.settle([Settlement(task_id=f"{0:032x}", fence=1, kind="fail", error="no", error_code="provider_auth")])

    table = copy.manage("tasks", **environment).stdout
    assert "\x1b" not in table
    assert all(f"question {number}" in table for number in range(3))
    assert "failed (provider_auth)" in table
    one = copy.manage("tasks", "--status", "pending", "--metadata", "order=2", "--since", "1h", "--json", **environment)
    (line,) = one.stdout.splitlines()
    assert {name: json.loads(line)[name] for name in ("task_id", "caller", "status", "metadata")} == {
        "task_id": f"{2:032x}", "caller": "c0", "status": "pending", "metadata": {"order": 2},
    }  # fmt: skip
    shorter = copy.manage("tasks", "--caller", "c0", "--limit", "1", **environment).stdout
    assert shorter.count("question") == 1
    assert "There are more" in shorter

    why = copy.manage("why", f"{0:032x}", **environment)
    assert (why.returncode, why.stderr) == (0, "")
    assert "failed after" in why.stdout
    assert "attempt 1 on w1: ran" in why.stdout
    missing = copy.manage("why", "f" * 32, **environment)
    assert (missing.returncode, "no task has this id" in missing.stderr) == (1, True)
