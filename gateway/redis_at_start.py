"""One look at Redis before the gateway serves: a Redis that throws tasks away is refused, one that is away is not."""

import asyncio
import logging

from redis.exceptions import RedisError

from core_config import ConfigurationError, Settings
from taskstore.connection import connect
from taskstore.durability import look

LOOK_S = 1.0
"""A gateway starts without Redis, and soon. The workers look too, for as long as it takes, before they run anything."""

log = logging.getLogger(__name__)


def refuse_eviction(settings: Settings) -> None:
    """Logs what this Redis promises. Raises ConfigurationError when it evicts."""
    asyncio.run(_look(settings))


async def _look(settings: Settings) -> None:
    try:
        async with asyncio.timeout(LOOK_S), connect(settings.redis_address) as client:
            redis = await look(client)
    except (RedisError, OSError) as error:  # a TimeoutError is an OSError
        log.warning("redis_unchecked", extra={"error": error})
        return
    if redis.refusal:
        raise ConfigurationError(f"The Redis of REDIS_URL {redis.refusal}")
    log.info("redis", extra={"version": redis.version, "durability": redis.promise})
