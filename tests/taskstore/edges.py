"""Every edge of a task's life as a case: what Redis holds, the verb, its answer, and what Redis holds then.

test_edges.py runs them; it fails when `TRANSITIONS` has an edge that stands in no case.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from taskstore.claims import Settlement
from taskstore.store import TaskStore
from taskstore.unpack import SEPARATOR

from .state import About, State, Stream, ZSet
from .worlds import DEAD, NET, RETENTION, World, event

Act = Callable[[TaskStore], Awaitable[Any]]


@dataclass(frozen=True)
class Case:
    verb: str
    start: str
    end: str
    before: World
    act: Act
    answer: Any
    changes: Callable[[int], State]
    why: str = ""

    @property
    def name(self) -> str:
        return "-".join(part for part in (self.start, self.verb, self.end, self.why) if part)


async def claim(store: TaskStore) -> list[tuple[str, int, int]]:
    """Number 7 of worker w2: (id, fence, attempt) of each task it took."""
    claimed = await store.claim("w2", 7, room=5, extra=1, models={"M": None})
    return [(task.task_id, task.fence, task.attempt) for task in claimed.tasks]


def settle(kind: str, *, fence: int = 1, **data: Any) -> Act:
    async def act(store: TaskStore) -> list[str]:
        return list(await store.settle([Settlement(task_id="t1", fence=fence, kind=kind, **data)]))  # type: ignore[arg-type]  # the kind is one of the list

    return act


def sweep(dead: str = "") -> Act:
    async def act(store: TaskStore) -> dict[str, int]:
        return {name: count for name, count in (await store.sweep(dead)).items() if count}

    return act


def cancel(store: TaskStore) -> Awaitable[Any]:
    return store.cancel("t1", "alice")


def decide(store: TaskStore) -> Awaitable[Any]:
    return store.decide("t1", '{"approve":true}', "alice")


def replay(store: TaskStore) -> Awaitable[Any]:
    return store.replay("t1")


def replay_on_n(store: TaskStore) -> Awaitable[Any]:
    return store.replay("t1", model="N")


def claimed(now: int, taken: str = '[["t1","1"]]') -> State:
    """What a claim leaves behind about the worker."""
    return {
        "worker:w2": {"claim_no": "7", "claim_ids": taken},
        "workers": ZSet(w2=About(now)),
        "ttl": {"worker:w2": About(3_600_000)},
    }


def swept(now: int) -> State:
    return {"swept": {"at": About(now)}}


def counted(metric: str, *labels: str, by: int = 1) -> State:
    """What operators count, by one more."""
    return {"counts": {SEPARATOR.join([metric, *labels]): by}}


def ended(
    now: int, index: str, status: str, attempt: int, *, fence: int | None = None, dead: bool = False, **fields: Any
) -> State:
    """A task that has just become final."""
    kept = DEAD if dead else RETENTION
    cause = fields.setdefault("cause", fields.get("error_code", ""))
    entry = event(0, status, attempt, attempt if fence is None else fence, cause=cause,
                  error_code=fields.get("error_code", "")) | {"at": About(now)}  # fmt: skip
    state: State = {
        "task:t1": {"status": status, "at": "", "completed_at": About(now), **fields},
        "events:t1": Stream([entry]),
        index: ZSet(t1=None),
        "live": ZSet(t1=None),
        "gone": ZSet({"t1 alice": About(now + kept)}),
        "ttl": {"task:t1": About(kept + NET), "events:t1": About(kept + NET)},
    }
    code = fields.get("error_code", "")
    state |= counted("agent_tasks_finished_total", "alice", "default", "M", status, code)
    if dead:
        state["dead"] = ZSet(t1=About(now))
        state["counts"] |= counted("agent_dead_letters_total", "default", "M", code)["counts"]
    return state


def settled(now: int, state: State) -> State:
    """With what every settle of the first attempt notes."""
    state["task:t1"] = {"settled": 1, "duration_ms": About(4_000)} | state["task:t1"]
    return state


def moved(now: int, leaves: str, enters: str, score: Any, entry: dict[str, Any], **fields: Any) -> State:
    """A live task that went from one index to another, with this entry in its stream."""
    if enters.startswith("ready:"):
        fields["ready_at"] = About(now)
    return {
        "task:t1": {"status": entry["status"], "at": enters, "cause": entry["cause"], **fields},
        "events:t1": Stream([entry | {"at": About(now)}]),
        leaves: ZSet(t1=None),
        enters: ZSet(t1=score),
    }


def joined(*states: State) -> State:
    """Changes of different keys put together; what stands in two of them is merged."""
    whole: State = {}
    for state in states:
        for name, change in state.items():
            if isinstance(change, dict) and name in whole:
                whole[name] = type(change)({**whole[name], **change})
            else:
                whole[name] = change
    return whole
