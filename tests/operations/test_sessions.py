"""`manage.py sessions` as an operator runs it: against a store, with no gateway."""

import json

from core_config import Settings
from taskstore.claims import Settlement
from taskstore.records import NewTask
from taskstore.store import TaskStore

from .conftest import Copy


async def test_sessions_are_listed_shown_and_deleted(copy: Copy, store: TaskStore, settings: Settings) -> None:
    environment = {"REDIS_URL": settings.redis_address, "KEY_PREFIX": settings.key_prefix}
    empty = copy.manage("sessions", "list", **environment)
    assert (empty.returncode, empty.stdout) == (0, "No session is like that.\n")
    for number, session_id in enumerate(("spoken", "waiting")):
        task = NewTask(
            task_id=f"{number:032x}", caller="local", message="first line\nwith \x1b[2J", model="M",
            user_id="u", session_id=session_id,
        )  # fmt: skip
        await store.submit(task)
    await store.claim("w1", 1, room=1, extra=0, models={"M": None})
    await store.settle([Settlement(task_id=f"{0:032x}", fence=1, kind="success", result="the answer")])

    table = copy.manage("sessions", "list", **environment).stdout
    assert table.index("spoken") < table.index("waiting"), "the last to change comes first"
    assert f"{1:032x}" in table
    lines = copy.manage("sessions", "list", "--user", "u", "--limit", "1", "--json", **environment).stdout.splitlines()
    assert [(one["session_id"], one["turns"]) for one in map(json.loads, lines)] == [("spoken", 1)]

    shown = copy.manage("sessions", "show", "spoken", "--user", "u", **environment).stdout
    assert "answered  the answer" in shown
    assert "\x1b" not in shown
    told = json.loads(copy.manage("sessions", "show", "spoken", "--user", "u", "--json", **environment).stdout)
    assert [turn["answer"] for turn in told["remembered"]] == ["the answer"]

    deleted = copy.manage("sessions", "delete", "spoken", "--user", "u", **environment)
    assert deleted.stdout.startswith("Deleted, with 1 turn.")
    for action in ("show", "delete"):
        missing = copy.manage("sessions", action, "spoken", "--user", "u", **environment)
        assert (missing.returncode, "there is no such session" in missing.stderr) == (1, True)
