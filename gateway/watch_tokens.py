"""Watch tokens: for a short time, whoever has one may follow the events of one task without an API key, as a browser
does, whose EventSource sends no headers. Nothing is stored of a token: it is signed, with a key that all gateway
processes of a deployment share in Redis.
"""

import base64
import hashlib
import hmac
import re
import secrets
import time
from datetime import UTC, datetime

from redis.asyncio import Redis
from redis.exceptions import RedisError

from core_config import Settings
from taskstore.errors import StoreUnavailable
from taskstore.keys import Keys

from .problems import Problem

LOOK_AGAIN_S = 1.0
"""How often a signature that does not fit makes a process look whether the key is another by now."""

_TOKEN = re.compile(r"wt_([0-9a-f]{1,12})_([A-Za-z0-9_-]{43})")


class WatchTokens:
    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._key_name = Keys(settings.key_prefix).watch_key()
        self._seconds = settings.watch_token_seconds
        self._key: bytes | None = None
        self._looked_at = 0.0

    async def issue(self, task_id: str) -> tuple[str, datetime]:
        """A token for the task, and until when it lets in. Raises StoreUnavailable."""
        expires = int(time.time() + self._seconds) + 1
        key = await self._read_key()  # not the one in hand, which a flushed Redis has forgotten
        return f"wt_{expires:x}_{_signature(key, task_id, expires)}", datetime.fromtimestamp(expires, UTC)

    async def check(self, task_id: str, token: str) -> bool:
        """Whether it is a token for the task. Raises Problem when it was one; StoreUnavailable."""
        found = _TOKEN.fullmatch(token)
        if found is None:
            return False
        expires = int(found[1], 16)
        if not await self._signed(task_id, expires, found[2]):
            return False
        if time.time() >= expires:
            raise Problem(
                "watch_token_expired",
                f"This watch token's time is over. Get a new one with POST /task/{task_id}/watch-token and an API key, "
                "and connect with `from=` the last event's id.",
            )
        return True

    async def _signed(self, task_id: str, expires: int, signature: str) -> bool:
        if self._key is not None:
            if hmac.compare_digest(_signature(self._key, task_id, expires), signature):
                return True
            if time.monotonic() - self._looked_at < LOOK_AGAIN_S:
                return False
        return hmac.compare_digest(_signature(await self._read_key(), task_id, expires), signature)

    async def _read_key(self) -> bytes:
        """The deployment's key; made when there is none. Two processes that make one at once get the same."""
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.set(self._key_name, secrets.token_hex(32), nx=True)
                pipe.get(self._key_name)
                _, key = await pipe.execute()
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis did not answer: {error}") from error
        self._looked_at = time.monotonic()
        self._key = key.encode()
        return self._key


def _signature(key: bytes, task_id: str, expires: int) -> str:
    signed = hmac.digest(key, f"watch {task_id} {expires}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(signed).decode().rstrip("=")
