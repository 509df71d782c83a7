"""The task's record as tutorials keep it: one JSON string under a key of the application's own."""

import json
from typing import Any

from redis.asyncio import Redis

KEPT_S = 86_400


def key(task_id: str) -> str:
    return f"task:{task_id}"


async def create(redis: Redis, task_id: str) -> None:
    """A submit that comes again finds the record there and leaves it."""
    await redis.set(key(task_id), json.dumps({"task_id": task_id, "status": "pending"}), ex=KEPT_S, nx=True)


async def save(redis: Redis, task_id: str, status: str, **fields: Any) -> None:
    await redis.set(key(task_id), json.dumps({"task_id": task_id, "status": status, **fields}), ex=KEPT_S)


async def read(redis: Redis, task_id: str) -> dict[str, Any] | None:
    text = await redis.get(key(task_id))
    record: dict[str, Any] | None = None if text is None else json.loads(text)
    return record
