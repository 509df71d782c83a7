"""The seeded states are what the verbs really write: each place is reached by verbs and compared with its seed."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from taskstore.claims import Settlement
from taskstore.records import NewTask
from taskstore.store import TaskStore

from .edges import settle
from .state import Contents, State, as_written
from .worlds import WORLDS

WRONG: dict[str, Any] = {"error_code": "provider_timeout", "error": "The model did not answer in time."}
REFUSED: dict[str, Any] = {"error_code": "provider_auth", "error": "The key was refused."}


async def submit(store: TaskStore, contents: Contents) -> None:
    await store.submit(NewTask(task_id="t1", caller="alice", message="hello", model="M"))


async def schedule(store: TaskStore, contents: Contents) -> None:
    due = await contents.clock() + 60_000
    await store.submit(NewTask(task_id="t1", caller="alice", message="hello", model="M", run_at_ms=due))


async def run(store: TaskStore, contents: Contents) -> None:
    await submit(store, contents)
    await store.claim("w1", 1, room=1, extra=0, models={"M": None})


def run_and(kind: str, **data: Any) -> Callable[[TaskStore, Contents], Awaitable[None]]:
    async def reach(store: TaskStore, contents: Contents) -> None:
        await run(store, contents)
        assert await settle(kind, **data)(store) == ["ok"]

    return reach


async def block(store: TaskStore, contents: Contents) -> None:
    for task_id in ("t0", "t1"):
        await store.submit(NewTask(task_id=task_id, caller="alice", message="hello", model="M", session_id="chat"))
        await store.claim("w1", 1, room=1, extra=0, models={"M": None})


async def promote(store: TaskStore, contents: Contents) -> None:
    await run_and("retry", delay_ms=0, **WRONG)(store, contents)


async def cancel(store: TaskStore, contents: Contents) -> None:
    await run(store, contents)
    await store.cancel("t1")
    await store.settle([Settlement(task_id="t1", fence=1, kind="cancelled")])


REACHED = {
    "ready": submit,
    "scheduled": schedule,
    "blocked": block,
    "running": run,
    "retrying": run_and("retry", delay_ms=10_000, **WRONG),
    "retrying_ready": promote,
    "waiting": run_and("suspend", cause="tool_approval"),
    "success": run_and("success", result="42"),
    "failed": run_and("fail", **REFUSED),
    "buried": run_and("bury", **REFUSED),
    "cancelled": cancel,
}
TIMES = {
    "created_at", "updated_at", "queued_at", "ready_at", "run_at", "started_at", "completed_at", "cancel_at",
    "queued_ms", "duration_ms", "at",
}  # fmt: skip


def shape(state: State) -> State:
    """The state without times, bells, counts and what is known of workers: they depend on how it was reached."""
    known = {"bell:b", "workers", "worker:w1", "counts"}
    shaped: State = {}
    for name, content in as_written(state).items():
        if name == "ttl":
            shaped[name] = {key for key in content if key not in known}
        elif name.startswith(("task:", "session:")):
            shaped[name] = {field: "" if field in TIMES - {"at"} else value for field, value in content.items()}
        elif name.startswith("events:"):
            kept = [entry for entry in content if entry["type"] == "status"]
            shaped[name] = [{field: value for field, value in entry.items() if field != "at"} for entry in kept]
        elif name.startswith(("live", "gone", "dead", "caller:", "sessions:", "scheduled", "leases:", "waiting")):
            shaped[name] = set(content)
        elif name.startswith("pace:"):
            shaped[name] = len(content)
        elif name not in known:
            shaped[name] = content
    return shaped


@pytest.mark.parametrize("name", WORLDS)
async def test_verbs_write_what_the_tests_seed(name: str, audited: TaskStore, contents: Contents) -> None:
    await REACHED[name](audited, contents)
    reached, seeded = shape(await contents.snapshot()), shape(WORLDS[name](await contents.clock()))
    if "sessions:alice" in reached:
        reached["sessions:alice"] = {"s" for _ in reached["sessions:alice"]}
    for session in [key for key in reached if ":" in key and key.split(":")[0] in {"session", "blocked"}]:
        # the seeds write `s` for the session's hash
        reached[session.rsplit(":", 1)[0] + ":s"] = reached.pop(session)
    for record in [reached["task:t1"], reached.get("task:t0", {})]:
        if record.get("session_id"):
            record["at"] = record["at"].replace(record["session"], "s")
            record["session"] = "s"
            del record["session_id"]
    assert reached == seeded
