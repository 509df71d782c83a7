"""Lets in who may come in, before anything of a request but its head is read.

It stands before the router, so that a route added tomorrow is guarded without anybody thinking of it.
"""

from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from core_config import is_loopback

from .auth import LOCAL, Caller, KeyRing
from .problems import Problem

OPEN = frozenset({"/health", "/ready", "/metrics"})
"""What a load balancer and Prometheus read without a key. None of it tells of tasks or callers."""


class Guard:
    def __init__(self, app: ASGIApp, keys: KeyRing | None) -> None:
        """`keys` None: nobody needs one, and the address is loopback."""
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                caller = self._caller_by_host(scope) if self._keys is None else self._caller_by_key(self._keys, scope)
            except Problem as problem:
                await problem.response()(scope, receive, send)
                return
            scope.setdefault("state", {})["caller"] = caller
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
                headers={"WWW-Authenticate": 'Bearer realm="longhaul"'},
            )
        return caller


def _is_local(host: bytes) -> bool:
    try:
        name = urlsplit(f"//{host.decode('ascii')}").hostname
    except ValueError:
        return False
    return name is not None and is_loopback(name)
