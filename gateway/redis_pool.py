"""The gateway's connections to Redis, for many requests at once.

redis-py's plain pool connects while it holds its lock: with Redis away, requests queue behind one another's failing
connects, and twenty of them took half a minute to be told 503. The blocking pool connects outside its lock. It also
bounds the connections: a burst waits for one, where the plain pool would open a thousand.
"""

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from taskstore.connection import COMMAND_TIMEOUT_S, connection_options

CONNECTIONS = 64
"""More than one process's loop can keep busy: a verb takes Redis well under a millisecond."""
RECONNECT_AFTER_S = 0.1


def connect_for_requests(url: str) -> Redis:
    """A client that says soon that Redis is away: who asks us can ask again, and holds a connection until then."""
    options = connection_options()
    once_more = Retry(ConstantBackoff(RECONNECT_AFTER_S), 1, supported_errors=(RedisConnectionError, OSError))  # type: ignore[arg-type]  # its own default has an OSError
    options["retry"] = once_more
    pool = BlockingConnectionPool.from_url(url, max_connections=CONNECTIONS, timeout=COMMAND_TIMEOUT_S, **options)
    return Redis.from_pool(pool)
