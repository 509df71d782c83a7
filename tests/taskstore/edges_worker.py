"""The edges that a worker walks: claim, and every way to settle."""

from math import inf
from typing import Any

from .edges import Case, claim, claimed, counted, ended, joined, moved, settle, settled
from .state import About, State, Stream, ZSet
from .worlds import (
    CANCELLED_ERROR,
    EXPIRED_ERROR,
    LEASE,
    due,
    event,
    ready,
    retrying_ready,
    running,
    scheduled,
    with_task,
)

OK = ["ok"]
WRONG: dict[str, Any] = {"error_code": "provider_timeout", "error": "The model did not answer in time."}


def taken(now: int, index: str, fence: int, waited: float) -> State:
    return joined(
        claimed(now, f'[["t1","{fence}"]]'),
        {
            "task:t1": {
                "status": "running", "at": "leases:M:b", "fence": fence, "attempt": fence, "worker": "w2", "cause": "",
                "started_at": About(now), "queued_ms": About(waited),
            },
            "events:t1": Stream([event(0, "running", fence, fence, worker="w2") | {"at": About(now)}]),
            index: ZSet(t1=None),
            "leases:M:b": ZSet(t1=About(now + LEASE)),
            "fair": {"*": "1"},
        },
        counted("agent_attempts_total", "default", "M"),
    )  # fmt: skip


def promoted(now: int) -> State:
    """A scheduled task whose time has come is ready first, where it gets its place in the fair order; then claimed."""
    ran = taken(now, "scheduled", 1, 1_000)
    its_time = event(0, "pending", 0, 0) | {"type": "due", "due": About(now - 1_000), "at": About(now)}
    return joined(
        ran,
        {
            "task:t1": {**ran["task:t1"], "vscore": "1.000000", "ready_at": About(now - 1_000)},
            "events:t1": Stream([its_time, *ran["events:t1"]]),
        },
        {"fair": {"*": "1", "alice|5": "1.000000"}, "lanes": {"M:b"}, "bell:b": ["1"]},
    )


def due_now(now: int) -> State:
    state = scheduled(now)
    state["scheduled"] = ZSet(t1=now - 1_000)
    state["task:t1"] |= {"run_at": now - 1_000, "queued_at": now - 1_000}
    return state


def expired_at_claim(now: int) -> State:
    return joined(
        claimed(now, "{}"),
        ended(now, "ready:M:b", "failed", 0, error_code="deadline_exceeded", error=EXPIRED_ERROR),
    )


def retried(now: int) -> State:
    return settled(
        now,
        moved(now, "leases:M:b", "scheduled", About(now + 2_000), event(0, "retrying", 1, 1, cause="provider_timeout"),
              retries=1, queued_at=About(now + 2_000), **WRONG)
        | {"bell:b": ["1"]} | counted("agent_retries_total", "default", "M", "provider_timeout"),
    )  # fmt: skip


def released(now: int) -> State:
    return settled(
        now,
        moved(
            now,
            "leases:M:b",
            "ready:M:b",
            1.0,
            event(0, "pending", 0, 1, cause="drain"),
            attempt=0,
            queued_at=About(now),
        )
        | {"bell:b": ["1"]}
        | counted("agent_releases_total", "drain"),
    )


def suspended(now: int) -> State:
    return settled(
        now, moved(now, "leases:M:b", "waiting", About(now + 90_000), event(0, "waiting", 1, 1, cause="tool_approval"))
    )


def buried(now: int, **error: Any) -> State:
    return settled(now, ended(now, "leases:M:b", "failed", 1, dead=True, **error))


def succeeded(now: int, **task: Any) -> State:
    """Its run's duration is kept for estimates."""
    ran = {"pace:M:default": [About(4_000)], "ttl": {"pace:M:default": About(86_400_000)}}
    return joined(settled(now, ended(now, "leases:M:b", "success", 1)), ran, {"task:t1": task})


def stopped(now: int) -> State:
    return settled(now, ended(now, "leases:M:b", "cancelled", 1, error_code="cancelled", error=CANCELLED_ERROR,
                              cause="cancelled"))  # fmt: skip


cancel_asked = with_task(running, cancel_at="1700000000000")

WORKER_CASES = [
    Case("claim", "pending", "running", ready, claim, [("t1", 1, 1)], lambda now: taken(now, "ready:M:b", 1, 10_000)),
    Case("claim", "pending", "running", due_now, claim, [("t1", 1, 1)], promoted, "whose time has come"),
    Case("claim", "retrying", "running", retrying_ready, claim, [("t1", 2, 2)],
         lambda now: taken(now, "ready:M:b", 2, 500)),
    Case("expire", "pending", "failed", due(ready, -100), claim, [], expired_at_claim, "met by a claim"),
    Case("succeed", "running", "success", running, settle("success", result="42"), OK,
         lambda now: succeeded(now, result="42")),
    Case("succeed", "running", "success", cancel_asked, settle("success", result="42"), OK,
         lambda now: succeeded(now, result="42"), "before the cancel"),
    Case("succeed", "running", "success",
         with_task(running, error="old", error_code="internal", partial="half"), settle("success", result=""), OK,
         lambda now: succeeded(now, result="", error=None, error_code=None, partial=None),
         "after an attempt that failed"),
    Case("fail", "running", "failed", running, settle("fail", partial="half", **WRONG), OK,
         lambda now: settled(now, ended(now, "leases:M:b", "failed", 1, partial="half", **WRONG))),
    Case("retry", "running", "retrying", running, settle("retry", delay_ms=2_000, **WRONG), OK, retried),
    Case("retry", "running", "failed", with_task(running, retries=3), settle("retry", delay_ms=2_000, **WRONG), OK,
         lambda now: buried(now, **WRONG), "retries used up"),
    Case("retry", "running", "failed", due(running, 1_000), settle("retry", delay_ms=5_000, **WRONG), OK,
         lambda now: buried(now, **WRONG), "due past the deadline"),
    Case("retry", "running", "cancelled", cancel_asked, settle("retry", delay_ms=2_000), OK, stopped),
    Case("bury", "running", "failed", running, settle("bury", **WRONG), OK, lambda now: buried(now, **WRONG)),
    Case("release", "running", "pending", running, settle("release", cause="drain"), OK, released),
    Case("release", "running", "cancelled", cancel_asked, settle("release"), OK, stopped),
    Case("suspend", "running", "waiting", running, settle("suspend", cause="tool_approval", decide_within_ms=90_000),
         OK, suspended),
    Case("suspend", "running", "waiting", running, settle("suspend"), OK,
         lambda now: settled(now, moved(now, "leases:M:b", "waiting", inf, event(0, "waiting", 1, 1, cause=""))),
         "for as long as it takes"),
    Case("suspend", "running", "cancelled", cancel_asked, settle("suspend"), OK, stopped),
    Case("stop", "running", "cancelled", cancel_asked, settle("cancelled"), OK, stopped),
]  # fmt: skip
