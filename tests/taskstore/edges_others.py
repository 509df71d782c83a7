"""The edges that the gateway, the operator and the sweep walk."""

from math import inf

from taskstore.states import Status

from .edges import Case, cancel, counted, decide, ended, joined, moved, replay, replay_on_n, sweep, swept
from .state import About, State, Stream, ZSet
from .worlds import (
    CANCELLED_ERROR,
    EXPIRED_ERROR,
    World,
    blocked,
    buried,
    due,
    event,
    failed,
    ready,
    retrying,
    retrying_ready,
    running,
    scheduled,
    waiting,
    with_task,
)
from .worlds import swept as half_a_second_ago

LOST = "The worker was lost 3 times while it ran this task."


def lease_over(worker_seen_ago: int, **fields: int | str) -> World:
    """Runs on w1, whose lease has ended."""

    def made(now: int) -> State:
        state = half_a_second_ago(with_task(running, **fields))(now)
        state["leases:M:b"] = ZSet(t1=now - 100)
        state["workers"] = ZSet(w1=now - worker_seen_ago)
        return state

    return made


def behind_clock(now: int) -> State:
    """A flow that the virtual clock has passed is forgotten."""
    return joined(swept(now), {"fair": {"alice|5": None}})


def rescued(now: int, shown: int, cause: str, **fields: int) -> State:
    return joined(
        behind_clock(now),
        moved(now, "leases:M:b", "ready:M:b", 1.0, event(0, "retrying", shown, 1, cause=cause),
              queued_at=About(now), duration_ms=About(4_000), **fields),
        {"bell:b": ["1"]},
        counted("agent_rescues_total", cause),
    )  # fmt: skip


def quarantined(now: int) -> State:
    return joined(
        behind_clock(now),
        moved(now, "leases:M:b", "ready:quarantine", 2e12 + 1.0, event(0, "retrying", 1, 1, cause="worker_lost"),
              queued_at=About(now), duration_ms=About(4_000), crashes=2),
        {"bell:b": ["1"], "lanes": {"quarantine"}},
        counted("agent_rescues_total", "worker_lost"),
    )  # fmt: skip


def lost_for_good(now: int) -> State:
    return joined(
        behind_clock(now),
        ended(now, "leases:M:b", "failed", 1, dead=True, error_code="worker_lost", error=LOST),
        {"task:t1": {**ended(now, "", "failed", 1, error_code="worker_lost", error=LOST)["task:t1"],
                     "crashes": 3, "duration_ms": About(4_000)}},
        counted("agent_rescues_total", "worker_lost"),
    )  # fmt: skip


def stopped(now: int, index: str, attempt: int) -> State:
    return ended(now, index, "cancelled", attempt, error_code="cancelled", error=CANCELLED_ERROR, cause="cancelled")


def expired(now: int, index: str, attempt: int) -> State:
    return joined(swept(now), ended(now, index, "failed", attempt, error_code="deadline_exceeded", error=EXPIRED_ERROR))


def left_session(now: int, state: State) -> State:
    """And so has one task less that is live."""
    return state | {
        "session:alice:s": {"live": 1, "updated_at": About(now)},
        "sessions:alice": ZSet(s=About(now)),
        "behind": {"alice": None},
    }


def asked_to_stop(now: int) -> State:
    entry = {"type": "cancel_requested", "status": "running", "attempt": 1, "fence": 1, "at": About(now)}
    return {"task:t1": {"cancel_at": About(now)}, "events:t1": Stream([entry])}


def decided(now: int) -> State:
    return moved(now, "waiting", "ready:M:b", 1.0, event(0, "pending", 1, 1, cause="decided"),
                 decision='{"approve":true}',
                 queued_at=About(now)) | {"bell:b": ["1"]}  # fmt: skip


def replayed(now: int, model: str = "M", **fields: int | str | None) -> State:
    told = {} if model == "M" else {"model": model}
    return moved(
        now, "dead", f"ready:{model}:b", 1.0, event(0, "pending", 1, 1, cause="replayed") | told,
        queued_at=About(now), retries=0, crashes=0, model=model, replays=1, replayed_at=About(now), **fields,
        error=None, error_code=None, completed_at=None, deadline_at=None,
    ) | {
        "bell:b": ["1"], "live": ZSet(t1=inf), "gone": ZSet({"t1 alice": None}),
        "ttl": {"task:t1": None, "events:t1": None},
    } | counted("agent_replays_total", "default", model)  # fmt: skip


RUNNING = Status.RUNNING
CANCELLED = Status.CANCELLED
PENDING = Status.PENDING
overdue = half_a_second_ago(due(running, -30_100))
WORKER_DEAD = lease_over(6_000)

OTHER_CASES = [
    Case("cancel", "pending", "cancelled", ready, cancel, CANCELLED, lambda now: stopped(now, "ready:M:b", 0), "ready"),
    Case("cancel", "pending", "cancelled", scheduled, cancel, CANCELLED,
         lambda now: stopped(now, "scheduled", 0), "scheduled"),
    Case("cancel", "pending", "cancelled", blocked, cancel, CANCELLED,
         lambda now: left_session(now, stopped(now, "blocked:alice:s", 0)), "blocked"),
    Case("cancel", "retrying", "cancelled", retrying, cancel, CANCELLED,
         lambda now: stopped(now, "scheduled", 1)),
    Case("cancel", "waiting", "cancelled", waiting, cancel, CANCELLED, lambda now: stopped(now, "waiting", 1)),
    Case("cancel", "running", "running", running, cancel, RUNNING, asked_to_stop),
    Case("expire", "pending", "failed", half_a_second_ago(due(ready, -100)), sweep(), {"expired": 1},
         lambda now: expired(now, "ready:M:b", 0), "ready"),
    Case("expire", "pending", "failed", half_a_second_ago(due(scheduled, -100)), sweep(), {"expired": 1},
         lambda now: expired(now, "scheduled", 0), "scheduled"),
    Case("expire", "pending", "failed", half_a_second_ago(due(blocked, -100)), sweep(), {"expired": 1},
         lambda now: left_session(now, expired(now, "blocked:alice:s", 0)), "blocked"),
    Case("expire", "retrying", "failed", half_a_second_ago(due(retrying, -100)), sweep(), {"expired": 1},
         lambda now: joined(behind_clock(now), expired(now, "scheduled", 1))),
    Case("expire", "waiting", "failed", half_a_second_ago(due(waiting, -100)), sweep(), {"expired": 1},
         lambda now: joined(behind_clock(now), expired(now, "waiting", 1))),
    Case("rescue", "running", "retrying", WORKER_DEAD, sweep(), {"rescued": 1},
         lambda now: rescued(now, 1, "worker_lost", crashes=1), "worker lost"),
    Case("rescue", "running", "retrying", lease_over(6_000, crashes=1), sweep(), {"rescued": 1}, quarantined,
         "second worker lost"),
    Case("rescue", "running", "retrying", lease_over(1_000), sweep(), {"rescued": 1},
         lambda now: rescued(now, 0, "lost_claim", attempt=0), "a live worker's lost claim is free"),
    Case("rescue", "running", "retrying", half_a_second_ago(running), sweep("w1"), {"rescued": 1},
         lambda now: joined(rescued(now, 1, "worker_lost", crashes=1), {"workers": ZSet(w1=None)}), "known to be dead"),
    Case("rescue", "running", "failed", lease_over(6_000, crashes=2), sweep(), {"rescued": 1}, lost_for_good,
         "crashes used up"),
    Case("rescue", "running", "failed", overdue, sweep(), {"expired": 1},
         lambda now: joined(behind_clock(now), expired(now, "leases:M:b", 1)), "30 s past its deadline"),
    Case("rescue", "running", "cancelled", lease_over(6_000, cancel_at=1_700_000_000_000), sweep(), {"rescued": 1},
         lambda now: joined(behind_clock(now), stopped(now, "leases:M:b", 1),
                            counted("agent_rescues_total", "worker_lost")), "cancel was requested"),
    Case("decide", "waiting", "pending", waiting, decide, PENDING, decided),
    Case("replay", "failed", "pending", failed, replay, PENDING, replayed),
    Case("replay", "failed", "pending", due(buried, -100), replay, PENDING, replayed, "dead letter"),
    Case("replay", "failed", "pending", with_task(buried, answered_by="M", simulated="1", held_from="9"),
         replay_on_n, PENDING, lambda now: joined(
             replayed(now, "N", answered_by=None, simulated=None, held_from=None), {"lanes": {"N:b"}}
         ), "on another model"),
    Case("expire", "retrying", "failed", half_a_second_ago(due(retrying_ready, -100)), sweep(), {"expired": 1},
         lambda now: joined(behind_clock(now), expired(now, "ready:M:b", 1)), "ready"),
]  # fmt: skip
