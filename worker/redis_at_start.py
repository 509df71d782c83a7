"""Before a worker begins: waiting until its Redis answers, and refusing one that would throw tasks away."""

import asyncio
import logging
from collections.abc import Awaitable
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from core_config import ConfigurationError
from taskstore.durability import look

from .outage import Outage

LOOK_EVERY_S = 0.5

log = logging.getLogger(__name__)


async def until_usable(redis: Redis, outage: Outage) -> None:
    """Logs what this Redis promises. Raises ConfigurationError when it would throw tasks away."""
    while True:
        try:
            await cast("Awaitable[object]", redis.ping())  # refused by one that still loads, whose INFO answers already
            found = await look(redis)
        except (RedisError, OSError) as error:
            outage.goes_on(error, "starting")
            await asyncio.sleep(LOOK_EVERY_S)
            continue
        if found.refusal:
            raise ConfigurationError(f"The Redis of REDIS_URL {found.refusal}")
        log.info("redis", extra={"version": found.version, "durability": found.promise})
        return
