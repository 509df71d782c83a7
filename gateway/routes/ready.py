"""GET /ready, or /readiness: whether a task that is submitted now would be taken, and run.

Without Redis or without a worker nothing goes on: 503. With a full queue or a full Redis what was let in runs on, and
clients have to be able to read their results: 200, and `full`. All gateways share that queue, so a balancer that turned
them away for it would make an overload an outage. One that can send submits to another deployment asks for `accepting`.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import FastAPI, Query
from redis.exceptions import ReadOnlyError
from starlette.requests import Request
from starlette.responses import Response

from gateway.answers import answer
from gateway.openapi import problems
from gateway.running import Gateway, gateway_of
from gateway.schemas import Check, Readiness
from taskstore.errors import StorageFull, StoreLoading, StoreUnavailable
from taskstore.records import Overview
from taskstore.room import demand_room

Accepting = Annotated[
    bool, Query(description="503 also while submits are refused: for a balancer over several deployments.")
]


async def ready(request: Request, accepting: Accepting = False) -> Response:
    """200 when Redis answers and a worker was heard of in the last seconds, else 503; each check says what is wrong.
    While only submits are refused, because the queue or Redis is full, it is 200 with `status: full`.
    """
    checks = await _checks(gateway_of(request))
    status = _status(checks)
    refused = status == "not_ready" or (accepting and status == "full")
    body = Readiness(status=status, checks=checks, timestamp=datetime.now(UTC))
    return answer(body, 503 if refused else 200, headers={"Retry-After": "1"} if refused else {})


def _status(checks: Mapping[str, Check]) -> Literal["ready", "full", "not_ready"]:
    if not (checks["redis"].ok and checks["workers"].ok):
        return "not_ready"
    return "ready" if all(check.ok for check in checks.values()) else "full"


async def _checks(gateway: Gateway) -> dict[str, Check]:
    store = gateway.store
    seen, room = await asyncio.gather(store.overview(), _room(gateway), return_exceptions=True)
    for error in (seen, room):
        if isinstance(error, StoreLoading):
            return _no_redis("Redis has started and is reading its data; this ends by itself.")
        if isinstance(error, StoreUnavailable):
            replica = isinstance(error.__cause__, ReadOnlyError)
            return _no_redis(
                "Redis is a read-only replica; REDIS_URL has to name its primary."
                if replica
                else "Redis does not answer; see REDIS_URL and the gateway's log."
            )
        if isinstance(error, BaseException):
            raise error
    assert isinstance(seen, Overview) and isinstance(room, Check)  # noqa: S101, PT018  as the loop left it
    return {
        "redis": Check(ok=True, detail="Answers."),
        "workers": _workers(seen),
        "storage": room,
        "queue": _queue(seen, gateway.settings.queue_max_depth),
    }


async def _room(gateway: Gateway) -> Check:
    try:
        await demand_room(gateway.store.redis, gateway.store.keys)
    except StorageFull:
        return Check(ok=False, detail="Redis takes no more submits: its memory or its disk is full.")
    return Check(ok=True, detail="Has room.")


def _workers(seen: Overview) -> Check:
    workers = sum(not worker.quarantine for worker in seen.workers)  # those take nothing that is submitted now
    alive = f"{workers} alive." if workers else "No worker is alive; `python -m worker` starts one."
    return Check(ok=workers > 0, detail=alive)


def _queue(seen: Overview, most: int) -> Check:
    """By the count that `submit` goes by. How many wait is nobody's business who has no key."""
    if seen.queued + seen.scheduled + seen.blocked >= most:
        return Check(ok=False, detail="Full: submits are answered 429 until workers have caught up.")
    return Check(ok=True, detail="Has room.")


def _no_redis(detail: str) -> dict[str, Check]:
    unknown = Check(ok=False, detail="Unknown while Redis does not answer.")
    return {"redis": Check(ok=False, detail=detail), "workers": unknown, "storage": unknown, "queue": unknown}


def add(app: FastAPI) -> None:
    for path in ("/ready", "/readiness"):
        app.add_api_route(
            path,
            ready,
            methods=["GET"],
            response_model=Readiness,
            responses={
                **problems("forbidden_host", "invalid_request"),
                503: {"model": Readiness, "description": "Not ready."},
            },
            tags=["operation"],
            include_in_schema=path == "/ready",
        )
