"""Hears of cancels of running tasks at once; the renewals carry the same word, should a message be lost."""

import asyncio
from collections.abc import Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

from taskstore.keys import Keys

from .outage import Outage
from .role import Role

AGAIN_AFTER_S = 0.5


class Cancels(Role):
    def __init__(self, redis: Redis, keys: Keys, on_cancel: Callable[[str], None], outage: Outage) -> None:
        """`redis` is a client made with `connect(url, blocking=True)`; `on_cancel` gets every running task's id."""
        super().__init__()
        self._redis = redis
        self._channel = keys.cancel()
        self._on_cancel = on_cancel
        self._outage = outage

    async def _loop(self) -> None:
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                    await pubsub.subscribe(self._channel)
                    async for message in pubsub.listen():
                        self._on_cancel(message["data"])
            except (RedisError, OSError) as error:
                self._outage.goes_on(error, "listening for cancels")
            await asyncio.sleep(AGAIN_AFTER_S)
