"""Redis: whether it answers, is fit for tasks, keeps them, and has room. What is in it is of_store.py's."""

import shutil
import statistics
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import psutil
import redis

from operations import embedded_redis, redis_check, terminal
from operations.doctor_checks import of_store
from operations.doctor_checks.finding import Check, Finding, failure, ok, refused, warning
from operations.doctor_checks.situation import Situation
from operations.errors import CommandError
from taskstore.durability import durability_of

ROUND_TRIPS = 20
ROUND_TRIPS_SECONDS = 1.0
"""No more than so long for all of them."""
SLOW_MS = 50.0
"""Of the median: a verb costs a round trip, and a task costs two."""
CLOCK_SECONDS = 2.0
ALMOST_FULL = 0.75
REFUSES_SUBMITS = 0.9
"""Of maxmemory: from there on submits are refused (scripts/submit.lua)."""
OF_THE_MACHINE = 0.6
"""Of its memory, without a maxmemory: a rewrite of the append-only file may take half as much again."""


def find(situation: Situation) -> Iterator[Finding]:
    url = situation.redis_url
    if url is None:
        yield _private()
        return
    shown = redis_check.without_password(url)
    try:
        with redis_check.connect(url) as client:
            yield from _server(client, shown)
    except redis.BusyLoadingError:
        yield failure(
            Check.REDIS,
            f"{shown} is loading its data and answers nothing else",
            "wait: it takes as long as its append-only file is large. Its log says how far it is.",
        )
        return
    except redis.RedisError as error:
        yield refused(Check.REDIS, CommandError(f"{shown} cannot be used: {redis_check.why(error)}"), "See its log.")
        return
    except CommandError as error:
        yield refused(Check.REDIS, error, "Correct REDIS_URL.")
        return
    yield from of_store.find(situation, url)


def _private() -> Finding:
    try:
        server = embedded_redis.find_server()
    except CommandError as error:
        return refused(Check.REDIS, error, "Install redis-server, or set REDIS_URL.")
    return ok(Check.REDIS, f"REDIS_URL is not set: manage.py start runs a private one ({server})")


def _server(client: redis.Redis, shown: str) -> Iterator[Finding]:
    began = time.monotonic()
    # not PING: a Redis whose disk is full refuses even that, and would say no more
    info = cast(dict[str, Any], client.info())
    if int(info.get("loading", 0)):
        raise redis.BusyLoadingError
    yield ok(Check.REDIS, f"{shown} answers", (time.monotonic() - began) * 1000)
    kept = durability_of(info, redis_check.fsync(client))
    yield _refusal(Check.REDIS_VERSION, redis_check.age_refusal(info), kept.version)
    yield _refusal(Check.REDIS_ROLE, redis_check.role_refusal(info), "a primary")
    yield _refusal(Check.REDIS_EVICTION, kept.refusal, "noeviction")
    yield persistence(info, kept.promise, kept.warning)
    yield memory(info)
    yield _disk(client, info)
    for check, look in ((Check.REDIS_LATENCY, _latency), (Check.CLOCK, _clock)):
        try:
            yield look(client)
        except redis.exceptions.NoPermissionError:
            yield ok(check, "not known: the user of REDIS_URL may not ask, and need not")


def _refusal(check: Check, refusal: str, otherwise: str) -> Finding:
    if not refusal:
        return ok(check, otherwise)
    return refused(check, CommandError(f"this Redis {refusal}"), "Point REDIS_URL at another Redis.")


def persistence(info: Mapping[str, Any], promise: str, lacking: str) -> Finding:
    """`lacking`: what durability.py warns of."""
    broken = [
        what
        for what, field in {
            "its append-only file": "aof_last_write_status",
            "the last rewrite of it": "aof_last_bgrewrite_status",
            "the last snapshot": "rdb_last_bgsave_status",
        }.items()
        if str(info.get(field, "ok")) != "ok"
    ]
    if broken:
        return failure(
            Check.REDIS_PERSISTENCE,
            f"Redis could not write {', '.join(broken)}, and may refuse every write (MISCONF)",
            "make room on its disk (df -h), or mend the rights of its folder: docs/redis.md#when-the-disk-is-full.",
        )
    if lacking:
        return warning(
            Check.REDIS_PERSISTENCE,
            promise,
            "redis-cli CONFIG SET appendonly yes, and in its configuration file.",
        )
    if int(info.get("aof_delayed_fsync", 0)):
        promise += f"; the disk was too slow for it {info['aof_delayed_fsync']} times since it started"
    return ok(Check.REDIS_PERSISTENCE, promise)


def memory(info: Mapping[str, Any]) -> Finding:
    used, most = int(info["used_memory"]), int(info.get("maxmemory", 0))
    machine = int(info.get("total_system_memory", 0))
    says = f"{terminal.megabytes(used)} of {terminal.megabytes(most)} in use" if most else terminal.megabytes(used)
    raise_it = "redis-cli CONFIG SET maxmemory, and in its configuration file; or keep less: docs/redis.md."
    if most and used >= REFUSES_SUBMITS * most:
        return failure(Check.REDIS_MEMORY, f"{says}: submits are refused (503 storage_full)", f"Raise it: {raise_it}")
    if most and used >= ALMOST_FULL * most:
        return warning(Check.REDIS_MEMORY, f"{says}; submits are refused from nine tenths on", f"Raise it: {raise_it}")
    if not most and machine and used >= OF_THE_MACHINE * machine:
        return warning(
            Check.REDIS_MEMORY,
            f"{says} of the machine's {terminal.megabytes(machine)}, and no maxmemory: the kernel may kill it",
            f"Set a limit: {raise_it}",
        )
    return ok(Check.REDIS_MEMORY, says if most else f"{says} in use, no maxmemory")


def _disk(client: redis.Redis, info: Mapping[str, Any]) -> Finding:
    """Where its files are, if that is on this machine."""
    folder = _folder(client, info)
    if folder is None:
        return ok(Check.REDIS_DISK, "on another machine, or CONFIG is not allowed: look there (df -h)")
    free = shutil.disk_usage(folder).free
    needed = int(info["used_memory"])
    says = f"{terminal.megabytes(free)} free under {folder}"
    if free < needed:
        return warning(
            Check.REDIS_DISK,
            f"{says}, and a rewrite of the append-only file may need {terminal.megabytes(needed)}",
            "make room, or keep less: docs/redis.md#when-the-disk-is-full.",
        )
    return ok(Check.REDIS_DISK, says)


def _folder(client: redis.Redis, info: Mapping[str, Any]) -> Path | None:
    """None when it is another machine's, or not to be seen from here (a container's)."""
    try:
        folder = Path(cast(dict[str, str], client.config_get("dir"))["dir"])
        name = psutil.Process(int(info["process_id"])).name()
    except (redis.ResponseError, KeyError, psutil.Error):
        return None
    return folder if name.startswith(("redis", "valkey")) and folder.is_dir() else None


def _latency(client: redis.Redis) -> Finding:
    took: list[float] = []
    until = time.monotonic() + ROUND_TRIPS_SECONDS
    while len(took) < ROUND_TRIPS and (not took or time.monotonic() < until):
        began = time.monotonic()
        client.echo("")
        took.append((time.monotonic() - began) * 1000)
    return latency(took)


def latency(took_ms: list[float]) -> Finding:
    middle = statistics.median(took_ms)
    says = f"{len(took_ms)} round trips: p50 {middle:.1f} ms, max {max(took_ms):.1f} ms"
    if middle < SLOW_MS:
        return ok(Check.REDIS_LATENCY, says, middle)
    return warning(
        Check.REDIS_LATENCY,
        f"{says}: every step of a task waits as long",
        "run gateway and workers near Redis; redis-cli --latency and SLOWLOG GET 10 say if it is the way or Redis.",
        middle,
    )


def _clock(client: redis.Redis) -> Finding:
    began = time.time()
    seconds, micros = cast(tuple[int, int], client.time())
    ended = time.time()
    return clock(seconds + micros / 1e6 - (began + ended) / 2, (ended - began) / 2)


def clock(ahead_s: float, unsure_s: float) -> Finding:
    """`ahead_s`: how far Redis's clock is before this machine's, give or take `unsure_s`."""
    off = abs(ahead_s)
    if off - unsure_s < CLOCK_SECONDS:
        return ok(Check.CLOCK, f"this machine's and Redis's are {off:.1f} s apart")
    return warning(
        Check.CLOCK,
        f"this machine's clock is {off:.0f} s {'behind' if ahead_s > 0 else 'ahead of'} Redis's, which tasks go by",
        "set both by NTP (timedatectl set-ntp true): log lines of the two cannot be compared until then.",
    )
