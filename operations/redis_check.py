"""Asking a Redis whether Longhaul can use it: what is wrong with it, and what it promises about durability."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from operations.errors import CommandError
from taskstore.durability import durability_of

LOADING_SECONDS = 600
_OLDEST = (6, 2)


@dataclasses.dataclass(frozen=True)
class RedisFacts:
    """What a Redis says about itself. `durability` is a phrase for people; `warning` is empty when all is well."""

    version: str
    memory_bytes: int
    durability: str
    warning: str
    process_id: int


def without_password(url: str) -> str:
    """`url` with its password hidden; what cannot be taken apart is hidden whole."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "(an address that cannot be read)"
    if parts.password is None:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:***@{host}"))


def connect(url: str) -> redis.Redis:
    """A client that tries once, three seconds long. CommandError when REDIS_URL is no Redis address."""
    try:
        return redis.Redis.from_url(
            url, socket_timeout=3, socket_connect_timeout=3, retry=Retry(NoBackoff(), 0), decode_responses=True
        )
    except ValueError:
        raise CommandError(
            "REDIS_URL is no Redis address. Write it as redis://[[user]:password@]host:6379/0 (rediss:// with TLS, "
            "unix:///path), or leave it unset for a private Redis."
        ) from None


def check(url: str, say: Callable[[str], None] = lambda _: None) -> RedisFacts:
    """Asks the Redis at `url`, waiting for one that still loads its data. CommandError says why it cannot be used."""
    deadline = time.monotonic() + LOADING_SECONDS
    while True:
        facts = probe(url)
        if facts is not None:
            return facts
        if time.monotonic() > deadline:
            raise CommandError(
                f"Redis at {without_password(url)} has been loading its data for {LOADING_SECONDS // 60} minutes. "
                "Look at its log, and start again when it answers PING."
            )
        say(f"Redis at {without_password(url)} is loading its data; waiting ...")
        time.sleep(1)


def probe(url: str) -> RedisFacts | None:
    """Asks once: None while it loads its data, CommandError when it cannot be used."""
    shown = without_password(url)
    with connect(url) as client:
        try:
            client.ping()
            return _facts(client, shown)
        except redis.BusyLoadingError:
            return None
        except redis.RedisError as error:
            raise CommandError(f"cannot use Redis at {shown} (REDIS_URL): {why(error)}") from None


def why(error: redis.RedisError) -> str:
    """What is wrong with the way there, and the remedy."""
    said = str(error)
    if isinstance(error, redis.AuthenticationError) or "NOAUTH" in said or "WRONGPASS" in said:
        return "it refuses the password or the user. Correct them in REDIS_URL (redis://user:password@host:port/0)."
    if isinstance(error, redis.exceptions.AuthorizationError | redis.exceptions.NoPermissionError):
        return f"its user may not run the commands that are needed ({said}). Give the user more rights."
    if isinstance(error, redis.TimeoutError):
        return "no answer within 3 s. Is the host right, and is a firewall between?"
    if "MISCONF" in said:
        return f"it takes no writes ({said}). Give its disk room: docs/redis.md."
    if any(sign in said for sign in ("not known", "nodename", "name resolution", "No address")):
        return "that host is not known. Correct the name in REDIS_URL, or leave it unset for a private Redis."
    if "refused" in said:
        return (
            "the connection is refused: nothing listens there. Start that Redis, correct REDIS_URL, or leave it unset."
        )
    return f"{said.rstrip('.')}. Correct REDIS_URL, or leave it unset for a private Redis."


def _facts(client: redis.Redis, shown: str) -> RedisFacts:
    info = cast(dict[str, Any], client.info())
    if refusal := age_refusal(info) or role_refusal(info):  # before anything that an old one may not answer
        raise CommandError(f"Redis at {shown} {refusal}")
    durability = durability_of(info, fsync(client))
    if durability.refusal:
        raise CommandError(f"Redis at {shown} {durability.refusal}")
    memory, pid = int(info["used_memory"]), int(info["process_id"])
    return RedisFacts(durability.version, memory, durability.promise, durability.warning, pid)


def age_refusal(info: Mapping[str, Any]) -> str:
    """Empty when it is new enough. `info` is redis-py's."""
    version = str(info.get("valkey_version", info["redis_version"]))
    compatible = tuple(int(part) for part in str(info["redis_version"]).split(".")[:2])
    return "" if compatible >= _OLDEST else f"is version {version}; {_OLDEST[0]}.{_OLDEST[1]} or newer is needed."


def role_refusal(info: Mapping[str, Any]) -> str:
    """Empty when it is a primary on its own."""
    if info.get("redis_mode") == "cluster":
        return "is a Cluster; Longhaul needs one primary (Sentinel is fine)."
    if info.get("role") == "slave":
        return "is a read-only replica. Point REDIS_URL at its primary."
    return ""


def fsync(client: redis.Redis) -> str | None:
    """`appendfsync`, or None where CONFIG is forbidden."""
    try:
        return cast(dict[str, str], client.config_get("appendfsync")).get("appendfsync")
    except redis.ResponseError:
        return None  # managed services forbid CONFIG
