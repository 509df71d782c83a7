"""`audit` finds each way in which what is stored can break the rules, and finds nothing in what is right."""

from math import inf
from typing import Any

import pytest

from taskstore.store import TaskStore

from .state import Contents, State, Stream, ZSet, changed
from .worlds import SESSION_TTL, WORLDS, World, blocked, buried, ready, running, scheduled, success

SESSION_FREE: State = {"session:alice:s": {"holder": None}}


def idle(now: int) -> State:
    """A task of a session has succeeded, and nothing else of it is live."""
    state = success(now)
    state["task:t1"] |= {"session": "s", "turn": 1, "memory": "t1"}
    ends = now + SESSION_TTL
    return state | {
        "session:alice:s": {"seq": 1, "live": 0, "memory": "t1", "session_id": "chat", "turns": 1, "bytes": 2},
        "session:alice:s:log": ["{}"],
        "sessions:alice": ZSet(s=now - 1_000),
        "idle": ZSet({"s alice": ends}),
        "ttl": state["ttl"] | {"session:alice:s": SESSION_TTL, "session:alice:s:log": SESSION_TTL},
    }


@pytest.mark.parametrize("make", [*WORLDS.values(), idle], ids=[*WORLDS, "idle"])
async def test_right_contents_are_right(make: World, store: TaskStore, contents: Contents) -> None:
    await contents.seed(make(await contents.clock()))
    assert await store.audit() == []


BROKEN: list[tuple[World, Any, list[str]]] = [
    (ready, {"ready:M:b": None}, ["task t1 is not in its index ready:M:b"]),
    (ready, {"ready:M:b": None, "task:t1": {"at": ""}}, ["pending task t1 stands in "]),
    (ready, {"live": None}, ["pending task t1 is not in live"]),
    (ready, {"live": None, "ready:M:b": None},
     ["pending task t1 is not in live", "task t1 is not in its index ready:M:b"]),
    (ready, {"task:t1": None},
     ["events of t1 outlive its record", "index ready:M:b holds t1 which stands in no record",
      "live task t1 has no record"]),
    (ready, {"scheduled": ZSet(t1=5)}, ["index scheduled holds t1 which stands in ready:M:b"]),
    (ready, {"leases:N:b": ZSet(t1=5)},
     ["index leases:N:b holds t1 which stands in ready:M:b", "index leases:N:b is of a lane that no sweep knows"]),
    (ready, {"lanes": None}, ["index ready:M:b is of a lane that no sweep knows"]),
    (ready, {"task:t1": {"model": "N"}}, ["ready task t1 stands in another lane, ready:M:b"]),
    (ready, {"task:t1": {"at": "ready:M:b:default"}, "ready:M:b": None, "ready:M:b:default": ZSet(t1=1),
             "lanes": {"M:b:default"}},
     ["ready task t1 stands aside where no claim looks, ready:M:b:default"]),
    (ready, {"gates": {"M|cooling": "soon"}}, ["gate M|cooling of model M reads soon"]),
    (ready, {"gates": {"M|bucket": "1.5 5"}}, ["gate M|bucket of model M reads 1.5 5"]),
    (ready, {"gates": {"M|open": "1"}}, ["gate M|open of model M reads 1"]),
    (ready, {"ttl": {"task:t1": 9_000}}, ["live task t1 would expire"]),
    (ready, {"ttl": {"events:t1": 9_000}}, ["events of live task t1 would expire"]),
    (ready, {"bell:b": ["1", "1"]}, ["bell b holds more than one token"]),
    (ready, {"caller:alice": None}, ["task t1 is missing from those of its caller"]),
    (ready, {"gone": ZSet({"t1 alice": 5})}, ["pending task t1 is to be forgotten"]),
    (ready, {"task:t1": {"status": "odd"}}, ["odd task t1 stands in ready:M:b"]),
    (ready, {"task:t1": {"status": None}}, ["task t1 has no status"]),
    (ready, {"task:t1": {"settled": 1}}, ["task t1 was settled with a fence it never had"]),
    (ready, {"task:t1": {"session": "s"}, "session:alice:s": {"seq": 1, "live": 1}},
     ["pending task t1 does not hold its session"]),
    (scheduled, {"task:t1": {"status": "running"}},
     ["running task t1 stands in scheduled", "running task t1 was settled with its fence"]),
    (running, {"task:t1": {"status": "pending"}}, ["pending task t1 stands in leases:M:b"]),
    (running, {"task:t1": {"settled": 1}}, ["running task t1 was settled with its fence"]),
    (running, {"leases:M:b": None}, ["task t1 is not in its index leases:M:b"]),
    (blocked, SESSION_FREE, ["running task t0 does not hold its session", "task t1 waits for nobody"]),
    (blocked, {"session:alice:s": {"holder": "t1"}},
     ["running task t0 does not hold its session", "task t1 waits for nobody"]),
    (blocked, {"session:alice:s": {"holder": "t9"}},
     ["holder t9 of session s of alice is not live", "running task t0 does not hold its session",
      "task t1 waits for nobody"]),
    (blocked, {"ttl": {"session:alice:s": 9_000}}, ["session s of alice has a live task and would expire"]),
    (blocked, {"idle": ZSet({"s alice": inf})}, ["session s of alice has a live task and would expire"]),
    (blocked, {"session:alice:s": {"live": 1}}, ["session s of alice counts 1 live tasks and has 2"]),
    (blocked, {"session:alice:s:log": ["{}"]}, ["session s of alice remembers more than was said"]),
    (blocked, {"sessions:alice": None}, ["session s of alice is missing from those of its caller"]),
    (blocked, {"session:alice:s": {"memory": None}}, ["session s of alice was forgotten and is still there"]),
    (idle, {"ttl": {"session:alice:s": None}}, ["session s of alice has no live task and would never expire",
                                                "turns of session s of alice expire without it"]),
    (idle, {"idle": None}, ["session s of alice has no live task and would never expire"]),
    (idle, {"ttl": {"session:alice:s:log": None}}, ["turns of session s of alice expire without it"]),
    (idle, {"session:alice:s": None, "session:alice:s:log": None,
            "ttl": {"session:alice:s": None, "session:alice:s:log": None}}, ["idle session s alice does not exist"]),
    (success, {"live": ZSet(t1=5)}, ["final task t1 is in live"]),
    (success, {"task:t1": {"at": "waiting"}, "waiting": ZSet(t1=5)}, ["final task t1 stands in waiting"]),
    (success, {"waiting": ZSet(t1=5)}, ["index waiting holds t1 which stands in "]),
    (success, {"gone": None}, ["final task t1 would never be forgotten"]),
    (success, {"ttl": {"task:t1": None}}, ["final task t1 would never expire"]),
    (success, {"dead": ZSet(t1=5)}, ["success task t1 is a dead letter"]),
    (blocked, {"behind": {"alice": 2, "bob": 1}},
     ["caller alice counts 2 tasks behind others and has 1", "caller bob counts 1 tasks behind others and has 0"]),
    (blocked, {"behind": None}, ["caller alice counts no tasks behind others and has some"]),
    (idle, {"callers": None}, ["session s of alice is of a caller whom nobody knows"]),
    (idle, {"session:alice:s": {"holder": "t1"}}, ["holder t1 of session s of alice is not live"]),
    (success, {"events:t9": Stream([{"type": "status"}])}, ["events of t9 outlive its record"]),
    (buried, {"gone": None}, ["final task t1 would never be forgotten"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "breaks", "sentences"), BROKEN, ids=lambda part: getattr(part, "__name__", str(part))[:60]
)
async def test_each_broken_rule_is_found(
    make: World, breaks: State, sentences: list[str], store: TaskStore, contents: Contents
) -> None:
    before = changed(make(await contents.clock()), breaks)
    await contents.seed(before)
    assert await store.audit() == sentences
    await contents.check(before)


async def test_a_prefix_with_signs_of_a_pattern_is_only_itself(contents: Contents, settings: Any) -> None:
    odd = settings.model_copy(update={"key_prefix": contents.prefix + "[a-z]*?:"})
    there = Contents(contents.client, odd.key_prefix)
    state = changed(ready(await contents.clock()), {"ready:M:b": None})
    for name in ("task:t1", "live", "caller:alice", "events:t1"):
        match state[name]:
            case ZSet():
                await there.client.zadd(odd.key_prefix + name, state[name])
            case dict():
                await there.client.hset(odd.key_prefix + name, mapping=state[name])
    assert await TaskStore(contents.client, odd).audit() == ["task t1 is not in its index ready:M:b"]
    assert await TaskStore(contents.client, settings).audit() == []
