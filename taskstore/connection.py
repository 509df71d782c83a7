"""Redis clients of ours: every command has a time-out, and only a failed connect is tried again.

redis-py sends a command again after a time-out while the first copy still runs: a claim sent into a pause of 4.5 s left
five of five tasks leased to nobody. So a time-out is never retried here; the verbs are made to be sent twice, and the
caller repeats them with the same id, claim number or fence.
"""

from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

COMMAND_TIMEOUT_S = 3.0
BLOCKING_POP_S = 5.0


def connection_options(*, blocking: bool = False) -> dict[str, Any]:
    """Options of a connection; `blocking` is for BLPOP and pub/sub, whose replies may take as long as they take."""
    return {
        "socket_connect_timeout": COMMAND_TIMEOUT_S,
        "socket_timeout": None if blocking else COMMAND_TIMEOUT_S,
        "socket_keepalive": True,
        "decode_responses": True,
        "encoding_errors": "replace",
        # OSError is what a refused connection raises; without it redis-py would not try again
        "retry": Retry(ExponentialBackoff(cap=0.5, base=0.05), 3, supported_errors=(RedisConnectionError, OSError)),  # type: ignore[arg-type]  # its own default has an OSError
    }


def connect(url: str, *, blocking: bool = False) -> Redis:
    """A client for the address. It connects at the first command; close it with `aclose`."""
    return Redis.from_pool(connection_pool(url, blocking=blocking))


def connection_pool(url: str, *, blocking: bool = False) -> ConnectionPool:
    return ConnectionPool.from_url(url, **connection_options(blocking=blocking))
