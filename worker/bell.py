"""Listens for the bell: a token in a Redis list that says there may be a task to claim."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from taskstore.connection import BLOCKING_POP_S
from taskstore.keys import Keys
from taskstore.records import Kind

from .outage import Outage
from .role import Role

AGAIN_AFTER_S = 0.5


class Bell(Role):
    """One bell of one kind of task. It takes one token each time it was asked to listen, and never while nobody did:
    a worker without room must not take the wake-up of one that has.
    """

    def __init__(self, redis: Redis, keys: Keys, kind: Kind, on_ring: Callable[[Kind], None], outage: Outage) -> None:
        """`redis` is a client made with `connect(url, blocking=True)`."""
        super().__init__()
        self._redis = redis
        self._key = keys.bell(kind.value)
        self._kind = kind
        self._on_ring = on_ring
        self._outage = outage
        self._listening = asyncio.Event()

    def listen(self) -> None:
        """Takes the next token, when there is one. Asking again before it came is harmless."""
        self._listening.set()

    async def _loop(self) -> None:
        while True:
            await self._listening.wait()
            try:
                # bounded, so that a connection which died without a word is noticed
                async with asyncio.timeout(BLOCKING_POP_S + 3):
                    token = await cast("Awaitable[object]", self._redis.blpop([self._key], timeout=BLOCKING_POP_S))
            except (RedisError, OSError, TimeoutError) as error:
                self._outage.goes_on(error, "listening")
                await asyncio.sleep(AGAIN_AFTER_S)
                continue
            if token is not None:
                self._listening.clear()
                self._on_ring(self._kind)
