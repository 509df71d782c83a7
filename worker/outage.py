"""One line when Redis goes away and one when it is back, however many of the worker's roles notice."""

import asyncio
import logging
import time
from collections.abc import Awaitable
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

LOOK_EVERY_S = 0.5

log = logging.getLogger(__name__)


class Outage:
    """Told of every success and failure, from any thread."""

    def __init__(self) -> None:
        self._since: float | None = None

    def goes_on(self, error: Exception, doing: str) -> None:
        if self._since is None:
            self._since = time.monotonic()
            log.warning("redis_away", extra={"while": doing, "error": error})

    def is_over(self) -> None:
        if self._since is not None:
            seconds = time.monotonic() - self._since
            self._since = None
            log.warning("redis_back", extra={"seconds": round(seconds, 1)})


async def until_redis_answers(redis: Redis, outage: Outage) -> None:
    while True:
        try:
            await cast("Awaitable[object]", redis.ping())
        except (RedisError, OSError) as error:  # also a Redis that is still loading
            outage.goes_on(error, "starting")
            await asyncio.sleep(LOOK_EVERY_S)
        else:
            return
