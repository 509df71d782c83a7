"""What a Redis promises of what it has answered, and whether it keeps it at all: read from INFO and CONFIG."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

NO_FILE = "no append-only file: a crash or a power cut loses all that came after the last snapshot, if it makes any"
UNKNOWN = "append-only, fsync unknown (CONFIG is not allowed): ask who runs it what a power cut loses"
PROMISES = {
    "always": "append-only, fsync at every write: a power cut loses nothing that was answered",
    "everysec": "append-only, fsync every second: a crash loses nothing, a power cut up to the last second",
    "no": "append-only, fsync when the system likes: a crash loses nothing, a power cut may lose half a minute",
}
"""By `appendfsync`."""


@dataclass(frozen=True, slots=True)
class Durability:
    """All for people. `warning` is empty when all is well, `refusal` when Longhaul may use this Redis."""

    version: str
    promise: str
    warning: str
    refusal: str


def durability_of(info: Mapping[str, Any], fsync: str | None) -> Durability:
    """`info` as redis-py reads it; `fsync` is None where CONFIG is forbidden, as managed services do."""
    version = str(info.get("valkey_version") or info.get("redis_version", "of unknown version"))
    policy = str(info.get("maxmemory_policy", "noeviction"))
    refusal = warning = ""
    if policy != "noeviction":
        # with maxmemory 0 it evicts nothing, but that is one CONFIG SET away, and nobody would see the tasks go
        refusal = (
            f"evicts data when it is full (maxmemory-policy {policy}), and would lose tasks. "
            "Set it to noeviction: redis-cli CONFIG SET maxmemory-policy noeviction, and in its configuration file."
        )
    if not int(info.get("aof_enabled", 0)):
        promise = NO_FILE
        warning = "this Redis keeps no append-only file: a crash of it loses tasks (set appendonly yes)."
    else:
        promise = PROMISES.get(fsync or "", UNKNOWN)
    return Durability(version, promise, warning, refusal)


async def look(redis: Redis) -> Durability:
    """Asks the server. Raises what redis-py raises when it does not answer."""
    info = await redis.info()
    try:
        fsync = (await redis.config_get("appendfsync")).get("appendfsync")
    except ResponseError:
        fsync = None
    return durability_of(info, fsync)
