"""GET /ready: a task that is submitted now would run: Redis answers, and a worker is alive."""

from datetime import UTC, datetime

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from gateway.answers import answer
from gateway.openapi import problems
from gateway.running import Gateway, gateway_of
from gateway.schemas import Check, Readiness
from taskstore.errors import StoreLoading, StoreUnavailable


async def ready(request: Request) -> Response:
    """200 when Redis answers and a worker was heard of in the last seconds, else 503; each check says what is wrong."""
    checks = await _checks(gateway_of(request))
    fine = all(check.ok for check in checks.values())
    body = Readiness(status="ready" if fine else "not_ready", checks=checks, timestamp=datetime.now(UTC))
    return answer(body, 200 if fine else 503, headers={} if fine else {"Retry-After": "1"})


async def _checks(gateway: Gateway) -> dict[str, Check]:
    try:
        found = (await gateway.store.overview()).workers
    except StoreLoading:
        return _no_redis("Redis has started and is reading its data; this ends by itself.")
    except StoreUnavailable:
        return _no_redis("Redis does not answer; see REDIS_URL and the gateway's log.")
    workers = sum(not worker.quarantine for worker in found)  # those take nothing that is submitted now
    alive = f"{workers} alive." if workers else "No worker is alive; `python -m worker` starts one."
    return {"redis": Check(ok=True, detail="Answers."), "workers": Check(ok=workers > 0, detail=alive)}


def _no_redis(detail: str) -> dict[str, Check]:
    unknown = Check(ok=False, detail="Unknown while Redis does not answer.")
    return {"redis": Check(ok=False, detail=detail), "workers": unknown}


def add(app: FastAPI) -> None:
    app.add_api_route(
        "/ready",
        ready,
        methods=["GET"],
        response_model=Readiness,
        responses={**problems("forbidden_host"), 503: {"model": Readiness, "description": "Not ready."}},
        tags=["operation"],
    )
