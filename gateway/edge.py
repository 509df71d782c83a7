"""The outermost layer of every HTTP call: request id, security headers, metrics, and the last catch.

Plain ASGI: Starlette's BaseHTTPMiddleware costs a task and a queue per request, and hides disconnects.
"""

import logging
import re
import secrets
import time
from collections.abc import Sequence
from functools import cache

from prometheus_client import Counter, Histogram
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitoring import log_context, metrics

from .kinds import kind_of
from .noted import Noted, noted_of
from .problems import internal

HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
NOTHING_RUNS = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
CLIENT_LEFT = 499
"""What is counted when no answer was begun: nginx's number for a client that went away."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")

log = logging.getLogger(__name__)


class Edge:
    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute], page: str | None) -> None:
        """`page` is the one for people, if there is one: it loads its script from a CDN, against our policy."""
        self._app = app
        self._routes = routes
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        log_context.begin(request_id=request_id.decode())
        headers = [*HEADERS, (b"x-request-id", request_id)]
        if scope["path"] != self._page:
            headers.append(NOTHING_RUNS)
        began, noted = time.perf_counter(), noted_of(scope)
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        except ClientDisconnect:
            log.debug("client_left", extra={"request_id": request_id.decode()})  # before its body was whole
        except Exception:
            half_sent, known = status != 0, request_id.decode()
            log.exception("request_failed", extra={"request_id": known, "endpoint": self._endpoint(scope)})
            if half_sent:
                status = 500
                raise  # only a broken connection can still tell the client
            await internal(known).response()(scope, receive, send_on)
        finally:
            self._count(scope, noted, status or CLIENT_LEFT, time.perf_counter() - began)

    def _count(self, scope: Scope, noted: Noted, status: int, seconds: float) -> None:
        endpoint = self._endpoint(scope)
        kind = noted.kind or kind_of(scope["method"], endpoint)
        requests, duration = _of(endpoint, status, kind, noted.model)
        requests.inc()
        duration.observe(seconds)
        if noted.problem:
            metrics.PROBLEMS.labels(noted.problem, endpoint).inc()

    def _endpoint(self, scope: Scope) -> str:
        """The template of the route, also of a call that was turned away before the router saw it."""
        route = scope.get("route")
        if route is None:
            route = next((one for one in self._routes if one.matches(scope)[0] != Match.NONE), None)
        template = getattr(route, "path_format", None) or getattr(route, "path", None)
        return template or metrics.UNMATCHED


@cache
def _of(endpoint: str, status: int, kind: str, model: str) -> tuple[Counter, Histogram]:
    """As many as the metrics have series: looking a pair of them up costs as much as counting in them."""
    requests = metrics.REQUESTS.labels(endpoint, str(status), kind)
    return requests, metrics.REQUEST_DURATION.labels(endpoint, kind, model)


def _request_id(scope: Scope) -> bytes:
    """The client's, when it is one that may stand in a log; else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return bytes(value)
    return secrets.token_hex(8).encode()
