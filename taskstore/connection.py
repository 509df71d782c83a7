"""Redis clients of ours: every command has a time-out, and only a failed connect is tried again.

redis-py sends a command again after a time-out while the first copy still runs: a claim sent into a pause of 4.5 s left
five of five tasks leased to nobody. So a time-out is never retried here; the verbs are made to be sent twice, and the
caller repeats them with the same id, claim number or fence.
"""

import asyncio
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Self, cast
from urllib.parse import urlsplit

from redis.asyncio import (
    BlockingConnectionPool,
    Connection,
    ConnectionPool,
    Redis,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from .wire import Wire

COMMAND_TIMEOUT_S = 3.0
BLOCKING_POP_S = 5
RECONNECT_AFTER_S = 0.1
CONNECTIONS = 64
"""More than one process's loop can keep busy: a verb takes Redis well under a millisecond."""


class _LostWhenClosed(AbstractConnection):
    """uvloop says RuntimeError when a transport that is closed is written to, where asyncio's own loop goes on and lets
    the read fail. Whoever handles a lost connection would not know it.
    """

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            raise RedisConnectionError(f"the connection is closed: {error}") from error

    def hand_over(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        """From here on the protocol gets what Redis says; to be closed by `close_handed`."""
        assert self._writer is not None  # noqa: S101  it is connected
        transport = cast("asyncio.Transport", self._writer.transport)  # a StreamWriter types its base
        transport.set_protocol(protocol)
        return transport

    def close_handed(self) -> None:
        """May be called again. Not `disconnect`: that waits for what the protocol is told now."""
        self._close()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped


class _Tcp(_LostWhenClosed, Connection):
    pass


class _Tls(_LostWhenClosed, SSLConnection):
    pass


class _Unix(_LostWhenClosed, UnixDomainSocketConnection):
    pass


_OURS: Mapping[type[AbstractConnection], type[AbstractConnection]] = {
    Connection: _Tcp,
    SSLConnection: _Tls,
    UnixDomainSocketConnection: _Unix,
}


def connection_options(*, blocking: bool = False) -> dict[str, Any]:
    """Options of a connection; `blocking` is for BLPOP and pub/sub, whose replies may take as long as they take."""
    # OSError is what a refused connection raises; without it redis-py would not try again
    failures: Any = (RedisConnectionError, OSError)
    return {
        "socket_connect_timeout": COMMAND_TIMEOUT_S,
        "socket_timeout": None if blocking else COMMAND_TIMEOUT_S,
        "socket_keepalive": True,
        "decode_responses": True,
        "encoding_errors": "replace",
        # two round trips for each new connection, to tell Redis the name of a library
        "lib_name": None,
        "lib_version": None,
        # once, and soon: whoever asked knows better how long it is worth waiting for Redis
        "retry": Retry(ConstantBackoff(RECONNECT_AFTER_S), 1, supported_errors=failures),
    }


class Client(Redis):
    """redis-py's, and beside its pool the one connection that the verbs go over."""

    @classmethod
    def from_pool(cls, connection_pool: ConnectionPool) -> Self:
        client = super().from_pool(connection_pool)
        assert isinstance(client, cls)  # noqa: S101  redis-py types it as its own class
        return client

    @cached_property
    def wire(self) -> Wire:
        pool = self.connection_pool
        return Wire(pool.make_connection, pool.connection_kwargs["socket_timeout"])

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        if "wire" in vars(self):
            await self.wire.aclose()
        await super().aclose(close_connection_pool)


def connect(url: str, *, blocking: bool = False) -> Client:
    """A client for the address. It connects at the first command; close it with `aclose`."""
    return Client.from_pool(connection_pool(url, blocking=blocking))


def connection_pool(url: str, *, blocking: bool = False) -> ConnectionPool:
    """Connections for commands, or without an end for those that block.

    redis-py's plain pool connects while it holds its lock: with Redis away, requests queue behind one another's failing
    connects, and twenty of them took half a minute to be told. Its blocking pool connects outside the lock, and bounds
    the connections: a burst waits for one, where the plain pool would open a thousand.
    """
    options = connection_options(blocking=blocking)
    if urlsplit(url).scheme == "unix":
        del options["socket_keepalive"]  # which redis-py's connection of that kind refuses
    pool = (
        ConnectionPool.from_url(url, **options)
        if blocking
        else BlockingConnectionPool.from_url(url, max_connections=CONNECTIONS, timeout=COMMAND_TIMEOUT_S, **options)
    )
    pool.connection_class = _OURS[pool.connection_class]
    return pool
