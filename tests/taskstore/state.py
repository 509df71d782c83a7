"""The exact contents of Redis under one prefix: stated, written, read back and compared.

A state is a plain dict of key (without prefix) to content, so that pytest shows what differs. Hashes are dicts, sorted
sets `ZSet`, streams `Stream` (entries without their ids), sets sets, lists lists, strings strings. The entry `ttl`
holds the milliseconds of every key that expires; a key that is not in it must not expire.
"""

from typing import Any

State = dict[str, Any]


class ZSet(dict[str, Any]):
    """A sorted set: member to score."""


class Stream(list[dict[str, Any]]):
    """A stream's entries, oldest first."""


HOURS_MS = (1_000_000, 100_000_000_000)
"""What lasts so long is hours or days, and no date."""


class About:
    """A number of milliseconds that depends on when the script ran: equal to any number or string that is near."""

    def __init__(self, ms: float, within: float | None = None) -> None:
        """Without `within`, 1.5 s; of what lasts for hours 20, since the machine may stop for a moment."""
        self.ms = ms
        self.within = within or (20_000 if HOURS_MS[0] < ms < HOURS_MS[1] else 1500)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str | int | float) and abs(float(other) - self.ms) <= self.within

    __hash__ = None  # type: ignore[assignment]  # no hash can agree with an approximate equality

    def __repr__(self) -> str:
        return f"About({self.ms:.0f})"


def changed(before: State, changes: State) -> State:
    """The state after the changes, and nothing but them: fields and members are merged, entries appended, and what is
    None is gone. A hash or set that is left with nothing is gone too, as in Redis.
    """
    after: State = {"ttl": {}} | before
    for name, change in changes.items():
        old = after.get(name)
        if change is None:
            after.pop(name, None)
        elif isinstance(change, dict):
            merged = type(change)({**(old or {}), **change})
            for field in [field for field, value in merged.items() if value is None]:
                del merged[field]
            after[name] = merged
            if not merged and name != "ttl":
                del after[name]
        elif isinstance(change, list):
            after[name] = type(change)([*(old or []), *change])
        elif isinstance(change, set):
            after[name] = (old or set()) | change
        else:
            after[name] = change
    return after


def as_written(state: State) -> State:
    """The state with hash values and entries as Redis gives them back: strings. What is approximate stays
    so, and a time to live, which runs while the test does, becomes so.
    """

    def text(value: Any) -> Any:
        return value if isinstance(value, About) else str(value)

    written: State = {}
    for name, content in state.items():
        match content:
            case ZSet():
                written[name] = content
            case dict() if name != "ttl":
                written[name] = {field: text(value) for field, value in content.items()}
            case Stream():
                written[name] = Stream([{field: text(value) for field, value in entry.items()} for entry in content])
            case _:
                written[name] = content
    left = state.get("ttl", {})
    written["ttl"] = {name: ms if isinstance(ms, About) else About(ms) for name, ms in left.items()}
    return written


class Contents:
    """What Redis holds under one prefix."""

    def __init__(self, client: Any, prefix: str) -> None:
        # Any: redis-py types the answers of its async commands as awaitable or not
        self.client = client
        self.prefix = prefix

    async def clock(self) -> int:
        """Redis's own time in milliseconds."""
        seconds, micros = await self.client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    async def seed(self, state: State) -> None:
        """Writes the state under the prefix, which must be empty."""
        assert await self.snapshot() == {"ttl": {}}
        for name, content in state.items():
            if name == "ttl":
                continue
            key = self.prefix + name
            match content:
                case ZSet():
                    await self.client.zadd(key, content)
                case dict():
                    await self.client.hset(key, mapping={field: str(value) for field, value in content.items()})
                case Stream():
                    for entry in content:
                        await self.client.xadd(key, {field: str(value) for field, value in entry.items()})
                case list():
                    await self.client.rpush(key, *content)
                case set():
                    await self.client.sadd(key, *content)
                case str():
                    await self.client.set(key, content)
                case _:
                    raise TypeError(f"no Redis type for {content!r}")
        for name, ms in state.get("ttl", {}).items():
            await self.client.pexpire(self.prefix + name, ms)

    async def snapshot(self) -> State:
        """Everything under the prefix, no key left out."""
        state: State = {}
        expiring: dict[str, int] = {}
        async for key in self.client.scan_iter(match=self.prefix + "*", count=1000):
            name = key.removeprefix(self.prefix)
            match await self.client.type(key):
                case "hash":
                    state[name] = await self.client.hgetall(key)
                case "zset":
                    state[name] = ZSet(await self.client.zrange(key, 0, -1, withscores=True))
                case "stream":
                    state[name] = Stream([fields for _, fields in await self.client.xrange(key)])
                case "list":
                    state[name] = await self.client.lrange(key, 0, -1)
                case "set":
                    state[name] = await self.client.smembers(key)
                case "string":
                    state[name] = await self.client.get(key)
                case other:
                    raise TypeError(f"{key} is a {other}")
            ttl = await self.client.pttl(key)
            if ttl >= 0:
                expiring[name] = ttl
        return state | {"ttl": expiring}

    async def check(self, expected: State) -> None:
        """Redis holds the expected state under the prefix, nothing more and nothing less."""
        found = await self.snapshot()
        wanted = as_written(expected)
        assert found.keys() == wanted.keys()
        for name in sorted(found):
            assert {name: found[name]} == {name: wanted[name]}
