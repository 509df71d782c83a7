"""What Redis holds for one task, `t1` of caller `alice` on model `M`, in each place a task can be in.

`now` is Redis's time in ms. The task came ten seconds ago; a run of it began four seconds ago. test_worlds.py holds
these against what the verbs really write.
"""

from collections.abc import Callable
from math import inf
from typing import Any

from .state import State, Stream, ZSet

CAME_AGO = 10_000
STARTED_AGO = 4_000
LEASE = 5_000
RETENTION = 3_600_000
DEAD = 604_800_000
SESSION_TTL = 604_800_000
PACE = 86_400_000
NET = 60_000
"""How much longer than the sweep's time to forget the keys' own time to live is, ms."""

CANCELLED_ERROR = "The task was cancelled."
EXPIRED_ERROR = "The task did not finish before its deadline."

NO_SESSION: dict[str, Any] = {"session": ""}


def event(now: int, status: str, attempt: int, fence: int, **more: Any) -> dict[str, Any]:
    """The entry of a change of status."""
    return {"type": "status", "status": status, "attempt": attempt, "fence": fence, "at": now, **more}


def record(now: int, **fields: Any) -> dict[str, Any]:
    return {
        "v": 1, "caller": "alice", "message": "hello", "model": "M", "agent": "default", "kind": "b", "priority": 5,
        "flow": "alice|5", "weight": 1.0, "session": "", "metadata": "{}", "attempt": 0, "retries": 0, "crashes": 0,
        "fence": 0, "idem": "", "status": "pending", "at": "ready:M:b", "created_at": now - CAME_AGO,
        "queued_at": now - CAME_AGO, "ready_at": now - CAME_AGO, "vscore": "1.000000",
    } | fields  # fmt: skip


def world(now: int, index: str, index_score: float, task: dict[str, Any], events: list[dict[str, Any]]) -> State:
    """A live task in one index."""
    return {
        "task:t1": record(now, at=index, **task),
        "events:t1": Stream([event(now - CAME_AGO, "pending", 0, 0), *events]),
        index: ZSet(t1=index_score),
        "live": ZSet(t1=inf),
        "caller:alice": ZSet(t1=now - CAME_AGO),
        "callers": {"alice"},
        "lanes": {"M:b"},
        "fair": {"alice|5": "1.000000"},
        "ttl": {},
    }


def ready(now: int) -> State:
    return world(now, "ready:M:b", 1.0, {}, [])


def scheduled(now: int) -> State:
    state = world(now, "scheduled", now + 60_000, {"run_at": now + 60_000, "queued_at": now + 60_000}, [])
    del state["lanes"], state["fair"], state["task:t1"]["vscore"], state["task:t1"]["ready_at"]
    return state


def blocked(now: int) -> State:
    """Behind `t0`, which runs and holds the session `s`."""
    state = world(now, "blocked:alice:s", 2.0, {"session": "s", "turn": 2, "memory": "t0", "vscore": "2.000000"}, [])
    del state["task:t1"]["ready_at"]
    state["behind"] = {"alice": 1}
    t0 = RUNNING | {"session": "s", "turn": 1, "memory": "t0", "started_at": now - STARTED_AGO}
    state["task:t0"] = record(now, **t0)
    state["events:t0"] = Stream([event(now, "pending", 0, 0), event(now, "running", 1, 1, worker="w1")])
    state["leases:M:b"] = ZSet(t0=now + LEASE)
    state["live"] = ZSet(t0=inf, t1=inf)
    state["caller:alice"] = ZSet(t0=now - CAME_AGO, t1=now - CAME_AGO)
    state["fair"] = {"alice|5": "2.000000", "*": "1"}
    state["session:alice:s"] = {
        "seq": 2, "live": 2, "holder": "t0", "memory": "t0", "session_id": "chat", "turns": 0, "bytes": 0,
        "created_at": now - CAME_AGO, "updated_at": now - CAME_AGO,
    }  # fmt: skip
    state["sessions:alice"] = ZSet(s=now - CAME_AGO)
    return state


RUNNING: dict[str, Any] = {
    "status": "running", "at": "leases:M:b", "fence": 1, "attempt": 1, "worker": "w1", "cause": "", "queued_ms": 6_000,
}  # fmt: skip


def running(now: int) -> State:
    task = {name: value for name, value in RUNNING.items() if name != "at"} | {"started_at": now - STARTED_AGO}
    began = event(now - STARTED_AGO, "running", 1, 1, worker="w1")
    state = world(now, "leases:M:b", now + LEASE, task, [began])
    state["fair"]["*"] = "1"
    state["workers"] = ZSet(w1=now - 100)
    return state


def _after_run(now: int, index: str, score: float, status: str, cause: str, **task: Any) -> State:
    """Once run and settled, now in another index."""
    state = running(now)
    del state["leases:M:b"]
    state["task:t1"] |= {"status": status, "at": index, "cause": cause, "settled": 1, "duration_ms": 3_000} | task
    state["events:t1"].append(event(now - 1_000, status, 1, 1, cause=cause))
    state[index] = ZSet(t1=score)
    return state


def retrying(now: int) -> State:
    """Its first attempt failed; the next is due in ten seconds."""
    return _after_run(
        now, "scheduled", now + 10_000, "retrying", "provider_timeout", retries=1, queued_at=now + 10_000,
        error_code="provider_timeout", error="The model did not answer in time.",
    )  # fmt: skip


def retrying_ready(now: int) -> State:
    """Its first attempt failed, and its time has come."""
    state = retrying(now)
    del state["scheduled"]
    state["task:t1"]["at"] = "ready:M:b"
    state["task:t1"] |= {"queued_at": now - 500, "ready_at": now - 500}
    state["ready:M:b"] = ZSet(t1=1.0)
    return state


def waiting(now: int) -> State:
    return _after_run(now, "waiting", inf, "waiting", "tool_approval")


def _final(now: int, status: str, cause: str, **task: Any) -> State:
    state = _after_run(now, "", 0, status, cause, completed_at=now - 1_000, **task)
    del state[""]
    state["gone"] = ZSet({"t1 alice": now - 1_000 + RETENTION})
    state["events:t1"][-1]["error_code"] = task.get("error_code", "")
    del state["live"]
    state["ttl"] = {"task:t1": RETENTION + NET - 1_000, "events:t1": RETENTION + NET - 1_000}
    return state


def success(now: int) -> State:
    state = _final(now, "success", "", result="42")
    state["pace:M:default"] = ["3000"]
    state["ttl"]["pace:M:default"] = PACE - 1_000
    return state


def failed(now: int) -> State:
    return _final(now, "failed", "provider_auth", error_code="provider_auth", error="The key was refused.")


def buried(now: int) -> State:
    """Failed, and a dead letter."""
    state = failed(now)
    state["dead"] = ZSet(t1=now - 1_000)
    state["gone"] = ZSet({"t1 alice": now - 1_000 + DEAD})
    state["ttl"] = {"task:t1": DEAD + NET - 1_000, "events:t1": DEAD + NET - 1_000}
    return state


def cancelled(now: int) -> State:
    state = _final(now, "cancelled", "cancelled", error_code="cancelled", error=CANCELLED_ERROR)
    state["task:t1"]["cancel_at"] = now - 1_500
    return state


World = Callable[[int], State]
WORLDS: dict[str, World] = {
    one.__name__: one
    for one in (
        ready, scheduled, blocked, running, retrying, retrying_ready, waiting, success, failed, buried, cancelled,
    )
}  # fmt: skip


def due(make: World, deadline_ms: int) -> World:
    """The same place, with a deadline so far from now."""

    def made(now: int) -> State:
        state = make(now)
        state["task:t1"]["deadline_at"] = now + deadline_ms
        if "t1" in state.get("live", {}):
            state["live"]["t1"] = now + deadline_ms
        return state

    made.__name__ = f"{make.__name__} with deadline"
    return made


def with_task(make: World, **fields: Any) -> World:
    """The same place, with other fields in the record."""

    def made(now: int) -> State:
        state = make(now)
        state["task:t1"] |= fields
        return state

    return made


def swept(make: World) -> World:
    """The same place, half a second after the last sweep."""

    def made(now: int) -> State:
        return make(now) | {"swept": {"at": now - 500, "cursor": "0"}}

    return made
