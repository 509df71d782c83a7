"""Lets in who may come in, before anything of a request but its head is read.

It stands before the router, so that a route added tomorrow is guarded without anybody thinking of it.
"""

import re
from urllib.parse import parse_qs, urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from core_config import is_loopback
from monitoring import log_context
from taskstore.errors import StoreUnavailable

from .auth import LOCAL, Caller, KeyRing
from .problems import Problem, problem_of
from .running import Gateway

OPEN = frozenset({"/health", "/healthz", "/ready", "/readiness", "/metrics"})
"""What a load balancer and Prometheus read without a key. None of it tells of tasks or callers."""
CHALLENGE = 'Bearer realm="longhaul"'

_EVENTS = re.compile(r"/task/([0-9a-f]{32})/events")
"""The one route that a watch token opens."""


class Guard:
    def __init__(self, app: ASGIApp, keys: KeyRing | None) -> None:
        """`keys` None: nobody needs one, and the address is loopback."""
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            caller: Caller | None
            try:
                caller = self._caller_by_host(scope) if self._keys is None else None
                if token := _watch_token(scope):
                    caller = await _watcher_of(scope, *token)
                elif self._keys is not None:
                    caller = self._caller_by_key(self._keys, scope)
            except (Problem, StoreUnavailable) as error:
                problem = problem_of(error)
                assert problem is not None  # noqa: S101  both are in the table
                await problem.response()(scope, receive, send)
                return
            scope.setdefault("state", {})["caller"] = caller
            if caller is not None and caller.name:
                log_context.bind(caller=caller.name)
        await self._app(scope, receive, send)

    @staticmethod
    def _caller_by_host(scope: Scope) -> Caller:
        """Without keys only this machine may call, and a web page in its browser is not it: a page of evil.example,
        whose name was then pointed at 127.0.0.1, sends `Host: evil.example`.
        """
        for name, value in scope["headers"]:
            if name == b"host" and not _is_local(value):
                raise Problem(
                    "forbidden_host",
                    "Without API_KEYS this gateway answers to localhost and 127.0.0.1 only, not to other host names.",
                )
        return LOCAL

    @staticmethod
    def _caller_by_key(keys: KeyRing, scope: Scope) -> Caller | None:
        if scope["path"] in OPEN:
            return None
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, key = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        caller = keys.caller(key.strip()) if scheme.lower() == b"bearer" else None
        if caller is None:
            # one answer for every reason: which part was wrong is nobody's business
            raise Problem(
                "unauthorized",
                "This call needs a valid API key: send `Authorization: Bearer <key>`.",
                headers={"WWW-Authenticate": CHALLENGE},
            )
        return caller


def _watch_token(scope: Scope) -> tuple[str, str] | None:
    """The task and the token of a call for a task's events that brings a token and no key."""
    found = _EVENTS.fullmatch(scope["path"])
    if found is None or b"watch_token" not in scope["query_string"]:
        return None
    if any(name == b"authorization" for name, _ in scope["headers"]):
        return None
    tokens = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get("watch_token")
    return (found[1], tokens[0]) if tokens else None


async def _watcher_of(scope: Scope, task_id: str, token: str) -> Caller:
    """Raises Problem, StoreUnavailable."""
    gateway: Gateway = scope["app"].state.gateway
    if not await gateway.watch_tokens.check(task_id, token):
        raise Problem(
            "unauthorized",
            "This is no watch token for this task. POST /task/{task_id}/watch-token gives one to who has an API key.",
            headers={"WWW-Authenticate": CHALLENGE},
        )
    return Caller("", admin=False, watches=task_id)


def _is_local(host: bytes) -> bool:
    try:
        name = urlsplit(f"//{host.decode('ascii')}").hostname
    except ValueError:
        return False
    return name is not None and is_loopback(name)
