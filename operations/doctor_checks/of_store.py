"""What is in the store: whose records, the queue, the workers and what they say of the agents."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import redis.exceptions
from redis.asyncio import Redis

from core_config import VERSION, Settings
from operations import terminal
from operations.doctor_checks.finding import Check, Finding, failure, ok, warning
from operations.doctor_checks.situation import Situation
from taskstore.connection import connect
from taskstore.errors import StoreError
from taskstore.keys import Keys
from taskstore.records import RECORD_VERSION, Overview
from taskstore.store import TaskStore

SAMPLE = 100
"""Records that are looked at."""
SCANS, KEYS_A_SCAN = 20, 500
"""So no more than 10,000 keys are walked."""
AUDITED_KEYS = 20_000
"""Redis does nothing else during an audit, which reads every key of its database."""


@dataclass(frozen=True, slots=True)
class Contents:
    overview: Overview
    newest: int
    """The highest version of the records looked at; 0 without any."""
    foreign: tuple[str, ...]
    """Keys under the prefix that this version makes none of."""
    keys: int
    """All of Redis's database, other prefixes' too."""
    broken: list[str] | None
    """What an audit found; None when there was too much to audit."""


def find(situation: Situation, url: str) -> Iterator[Finding]:
    try:
        contents = asyncio.run(_read(situation.settings, url))
    except (StoreError, redis.exceptions.RedisError) as error:
        yield failure(
            Check.QUEUE,
            f"the queue cannot be read: {error}",
            "give the user of REDIS_URL the rights to run scripts on the keys of KEY_PREFIX; see Redis's log.",
        )
        return
    yield from _prefix(situation.settings, contents)
    yield _audit(contents)
    yield from _queue(situation.settings, contents.overview)
    yield from _workers(situation, contents.overview)
    yield from _agents(contents.overview)


async def _read(settings: Settings, url: str) -> Contents:
    async with connect(url) as client:
        store = TaskStore(client, settings)
        keys = int(await client.dbsize())
        return Contents(
            overview=await store.overview(),
            newest=await _newest(client, store.keys),
            foreign=await _foreign(client, settings.key_prefix),
            keys=keys,
            broken=await store.audit() if keys <= AUDITED_KEYS else None,
        )


async def _newest(client: Redis, keys: Keys) -> int:
    """Of a sample: there is no index over all records."""
    ids = [*await client.zrevrange(keys.live(), 0, SAMPLE // 2), *await client.zrevrange(keys.gone(), 0, SAMPLE // 2)]
    async with client.pipeline(transaction=False) as pipe:
        for one in ids:
            pipe.hget(keys.task(one.split(" ")[0]), "v")
        versions = await pipe.execute()
    return max((int(version) for version in versions if version), default=0)


async def _foreign(client: Redis, prefix: str) -> tuple[str, ...]:
    ours = {getattr(Keys(""), name)(*[""] * count).split(":")[0] for name, count in _key_methods()}
    found, cursor = [], 0
    for _ in range(SCANS):
        cursor, page = await client.scan(cursor, match=f"{_literally(prefix)}*", count=KEYS_A_SCAN)
        found += [key for key in page if key.removeprefix(prefix).split(":")[0] not in ours]
        if cursor == 0:
            break
    return tuple(sorted(found))


def _key_methods() -> Iterator[tuple[str, int]]:
    for name, method in vars(Keys).items():
        if callable(method) and not name.startswith("_"):
            yield name, method.__code__.co_argcount - 1


def _literally(prefix: str) -> str:
    return "".join(f"\\{sign}" if sign in "*?[]^-\\" else sign for sign in prefix)


def _prefix(settings: Settings, contents: Contents) -> Iterator[Finding]:
    prefix = settings.key_prefix
    if contents.newest > RECORD_VERSION:
        yield failure(
            Check.KEY_PREFIX,
            f"a newer Longhaul writes under {prefix!r}: its records are of version {contents.newest}, this one knows "
            f"{RECORD_VERSION}",
            "update this copy, or give it a KEY_PREFIX of its own.",
        )
    elif contents.foreign:
        first = terminal.plain(contents.foreign[0], 60)
        yield warning(
            Check.KEY_PREFIX,
            f"{len(contents.foreign)} keys under {prefix!r} are not this version's, such as {first}",
            "another program, or another version of Longhaul, uses this KEY_PREFIX: give one of them another.",
        )
    else:
        yield ok(Check.KEY_PREFIX, f"{prefix!r} is Longhaul's alone")


def _audit(contents: Contents) -> Finding:
    if contents.broken is None:
        return ok(
            Check.AUDIT,
            f"not done: it reads all {contents.keys} keys of this Redis, and would hold up tasks meanwhile",
        )
    if not contents.broken:
        return ok(Check.AUDIT, "every task stands where its status says")
    more = f", and {len(contents.broken) - 1} more" if len(contents.broken) > 1 else ""
    return failure(
        Check.AUDIT,
        f"{terminal.plain(contents.broken[0], 200)}{more}",
        "a sweep mends what it can: run this again in a minute. What stays is a fault of Longhaul's: please report it.",
    )


def _queue(settings: Settings, seen: Overview) -> Iterator[Finding]:
    depth = seen.queued + seen.scheduled + seen.blocked
    says = (
        f"{seen.queued} ready, {seen.running} running, {seen.scheduled} for later, {seen.blocked} behind their session"
    )
    if depth >= settings.queue_max_depth:
        yield failure(
            Check.QUEUE,
            f"full: {depth} of {settings.queue_max_depth} tasks wait, and submits are refused (429 queue_full)",
            "add workers (WORKER_PROCESSES, or more machines), or raise QUEUE_MAX_DEPTH.",
        )
    else:
        yield ok(Check.QUEUE, says)
    if seen.dead:
        yield warning(Check.QUEUE, f"{seen.dead} dead letters", "python3 manage.py dead list says which and why.")
    for one in seen.paused:
        name = terminal.plain(one.name, 60)
        yield warning(
            Check.QUEUE,
            f"{one.kind} {name} has been paused for {terminal.duration(one.for_ms / 1000)}",
            f"python3 manage.py resume --{one.kind} {name} starts its tasks again.",
        )
    for cooling in seen.cooling:
        name = terminal.plain(cooling.model, 60)
        yield warning(
            Check.QUEUE,
            f"model {name} cools down after failing ({cooling.error_code})",
            f"it is tried again by itself; python3 manage.py models test {name} says what is wrong.",
        )


def _workers(situation: Situation, seen: Overview) -> Iterator[Finding]:
    ordinary = [worker for worker in seen.workers if not worker.quarantine]
    if not ordinary:
        waiting = seen.queued + seen.scheduled + seen.blocked
        if situation.state is None and not waiting and not seen.running:
            yield ok(Check.WORKERS, "none is alive, and nothing waits for one")
            return
        yield failure(
            Check.WORKERS,
            f"none is alive; {waiting} tasks wait",
            "python3 manage.py logs says why they ended; python3 manage.py start, or python -m worker, runs one. One "
            "with another REDIS_URL or KEY_PREFIX serves another queue.",
        )
        return
    slots = sum(worker.slots for worker in ordinary)
    hosts = len({worker.host for worker in ordinary})
    quarantine = len(seen.workers) - len(ordinary)
    says = f"{len(ordinary)} alive on {hosts} machines, {slots} slots" if hosts > 1 else (
        f"{len(ordinary)} alive, {slots} slots"
    )  # fmt: skip
    yield ok(Check.WORKERS, says + (f"; {quarantine} more for quarantined tasks" if quarantine else ""))
    for worker in seen.workers:
        if worker.version != VERSION:
            yield warning(
                Check.WORKERS,
                f"{worker.id} on {worker.host} is version {worker.version}, this is {VERSION}",
                "python3 manage.py restart there, with the same version everywhere.",
            )


def _agents(seen: Overview) -> Iterator[Finding]:
    problems = {name: report.problem for name, report in seen.agents.items() if report.problem is not None}
    for name, problem in problems.items():
        yield failure(
            Check.AGENTS,
            f"{terminal.plain(name, 60)} cannot be run: {problem}",
            "mend that, then python3 manage.py restart; its tasks are refused until then.",
        )
    if not problems:
        said = ", ".join(terminal.plain(name, 60) for name in seen.agents)
        yield ok(Check.AGENTS, f"the workers can run {said}" if said else "no worker has said yet which it can run")
