"""HTTP clients of one connection each: httpx looks through all connections of a client at each request, and in one
client a hundred of them cost more than everything else that the kit does.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import httpx


class HttpClients:
    """Lends them, and makes as many as are wanted at once."""

    def __init__(self, base_url: str = "", *, timeout_s: float) -> None:
        self._base_url, self._timeout_s = base_url, timeout_s
        self._free: list[httpx.AsyncClient] = []
        self._made: list[httpx.AsyncClient] = []

    @contextmanager
    def one(self) -> Iterator[httpx.AsyncClient]:
        client = self._free.pop() if self._free else self._make()
        try:
            yield client
        finally:
            self._free.append(client)

    async def close(self) -> None:
        for client in self._made:
            await client.aclose()

    def _make(self) -> httpx.AsyncClient:
        client = httpx.AsyncClient(
            base_url=self._base_url, trust_env=False, timeout=self._timeout_s, verify=_no_certificates()
        )
        self._made.append(client)
        return client


@cache
def _no_certificates() -> ssl.SSLContext:
    """To load them costs every client 20 ms, and nothing here is reached over TLS."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
