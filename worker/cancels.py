"""Hears of cancels of running tasks at once; the renewals carry the same word, should a message be lost."""

import asyncio
import logging
from collections.abc import Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

from taskstore.keys import Keys

from .role import Role

AGAIN_AFTER_S = 0.5

log = logging.getLogger(__name__)


class Cancels(Role):
    def __init__(self, redis: Redis, keys: Keys, on_cancel: Callable[[str], None]) -> None:
        """`redis` is a client made with `connect(url, blocking=True)`; `on_cancel` gets every running task's id."""
        super().__init__()
        self._redis = redis
        self._channel = keys.cancel()
        self._on_cancel = on_cancel

    async def _loop(self) -> None:
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                    await pubsub.subscribe(self._channel)
                    async for message in pubsub.listen():
                        self._on_cancel(message["data"])
            except (RedisError, OSError) as error:
                log.warning("cancels_lost", extra={"error": error})
            await asyncio.sleep(AGAIN_AFTER_S)
