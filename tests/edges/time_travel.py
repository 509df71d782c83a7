"""Moves a deployment's Redis through time: what is stored is made older, since the server's clock can't be moved.

Only what the verbs decide by is made older. Final records stay as they are, byte for byte.
"""

from typing import Any

from redis.asyncio import Redis

from taskstore.keys import Keys
from taskstore.states import FINAL

NET_MS = 60_000
"""A final record's own time to live is this much longer than its entry in `gone`."""
LIVE_TIMES = ("deadline_at", "started_at", "queued_at", "ready_at")


async def make_older(redis: Redis, keys: Keys, ms: int, *, alive: set[str], swept: bool) -> None:
    """Everything stored becomes `ms` older. `alive` are workers that renewed meanwhile; `swept`: sweeps went on."""
    client: Any = redis  # redis-py types the answers of its async commands as awaitable or not
    leases = [key async for key in client.scan_iter(match=keys.leases("*"))]
    for key in (*leases, keys.scheduled(), keys.waiting(), keys.live(), keys.gone(), keys.dead(), keys.workers()):
        for member, score in await client.zrange(key, 0, -1, withscores=True):
            if score != float("inf") and not (key == keys.workers() and member in alive):
                await client.zadd(key, {member: score - ms}, xx=True)
    for task_id in await client.zrange(keys.live(), 0, -1):
        record = await client.hgetall(keys.task(task_id))
        older = {name: int(record[name]) - ms for name in LIVE_TIMES if record.get(name, "0") != "0"}
        if older and record["status"] not in FINAL:
            await client.hset(keys.task(task_id), mapping=older)
    for field, text in (await client.hgetall(keys.gates())).items():
        words, at = text.split(" "), 0 if field.endswith("|cooling") else 1  # where the time stands
        await client.hset(keys.gates(), field, " ".join([*words[:at], str(int(words[at]) - ms), *words[at + 1 :]]))
    last = await client.hget(keys.swept(), "at")
    if last is not None and not swept:
        await client.hset(keys.swept(), "at", int(last) - ms)
    await _expire(client, keys)


async def _expire(client: Any, keys: Keys) -> None:
    """What Redis itself would have forgotten by now, had no sweep come."""
    seconds, micros = await client.time()
    now = int(seconds) * 1000 + int(micros) // 1000
    for member in await client.zrangebyscore(keys.gone(), "-inf", now - NET_MS):
        task_id = member.split(" ")[0]
        idempotency = await client.hget(keys.task(task_id), "idem")
        await client.delete(keys.task(task_id), keys.events(task_id), *([idempotency] if idempotency else []))
