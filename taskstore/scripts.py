"""The verbs' Lua: the files of SHARED + `scripts/<verb>.lua`, joined here, run by EVALSHA.

Scripts are addressed by their content, so two versions of the code can run side by side on one Redis.
"""

import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import orjson
from redis.client import NEVER_DECODE
from redis.commands.core import AsyncScript
from redis.exceptions import (
    BusyLoadingError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from core_config import Settings

from .connection import Client
from .errors import StorageFull, StoreLoading, StoreUnavailable
from .wire import Words

FOLDER = Path(__file__).parent / "scripts"
VERBS = (
    "submit",
    "read",
    "list",
    "claim",
    "ring",
    "renew",
    "step",
    "settle",
    "sweep",
    "cancel",
    "decide",
    "replay",
    "purge",
    "sessions",
    "read_session",
    "forget_session",
    "pause",
    "resume",
    "report",
    "overview",
    "gauges",
    "audit",
)
SHARED = ("_prelude", "_gates", "_sessions")
FULL = ("OOM", "MISCONF")
AWAY = ("READONLY", "NOREPLICAS", "MASTERDOWN", "BUSY", "CLUSTERDOWN", "NOAUTH")


@cache
def source(verb: str) -> str:
    return "".join((FOLDER / f"{part}.lua").read_text() for part in (*SHARED, verb))


def policy_of(settings: Settings) -> str:
    """The settings that scripts need, as the JSON that each of them gets as ARGV[1]. Times are milliseconds."""
    return orjson.dumps(
        {
            "lease": round(settings.lease_seconds * 1000),
            "retention": settings.result_ttl_seconds * 1000,
            "dead_ttl": settings.dead_ttl_seconds * 1000,
            "session_ttl": settings.session_ttl_seconds * 1000,
            "session_turns": settings.session_max_turns,
            "usage_days": settings.usage_ttl_days,
            "max_retries": settings.max_retries,
            "max_crashes": settings.max_crashes,
            "max_depth": settings.queue_max_depth,
        }
    ).decode()


class OnCall(Protocol):
    """Told of every round trip when it has ended; must not raise."""

    def __call__(self, verb: str, seconds: float, *, failed: bool) -> None: ...


class Scripts:
    """Runs verbs, one round trip each, and translates Redis's failures into the store's."""

    def __init__(self, redis: Client, settings: Settings, on_call: OnCall | None = None) -> None:
        self._redis = redis
        self._on_call = on_call
        self._prefix = settings.key_prefix
        self._policy = policy_of(settings)
        self._scripts: Mapping[str, AsyncScript] = {verb: redis.register_script(source(verb)) for verb in VERBS}

    async def run(self, verb: str, *args: str | bytes | float) -> Any:
        """The script's answer. Raises StoreUnavailable or StorageFull; a bug in a script raises ResponseError."""
        script = self._scripts[verb]
        words: Words = ("EVALSHA", str(script.sha), 1, self._prefix, self._policy, *args)
        began = time.perf_counter()
        try:  # not the context managers below: they would take as long as the command
            try:
                answer = await self._sent(words)
            except NoScriptError:
                await self._redis.wire.send("SCRIPT", "LOAD", str(script.script))
                answer = await self._sent(words)
        except Exception as error:
            if self._on_call is not None:
                self._on_call(verb, time.perf_counter() - began, failed=True)
            translated = _translated(error)
            if translated is error:
                raise
            raise translated from error
        if self._on_call is not None:
            self._on_call(verb, time.perf_counter() - began, failed=False)
        return answer

    async def run_with(self, verb: str, *commands: Sequence[str]) -> list[Any]:
        """The answers of a script without arguments and of the commands behind it, in one round trip; what is wrong
        with one of those commands is its answer. Raises as `run` does.
        """
        script = self._scripts[verb]

        async def send(keys: Sequence[str], args: Sequence[str]) -> list[Any]:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.evalsha(script.sha, len(keys), *keys, *args)
                for command in commands:
                    pipe.execute_command(*command)
                return await pipe.execute(raise_on_error=False)

        with self._observed(verb), translating():
            answers: list[Any] = await self._twice(send, [self._policy])
            if isinstance(answers[0], NoScriptError):
                await self._redis.script_load(script.script)
                answers = await self._twice(send, [self._policy])
            if isinstance(answers[0], Exception):
                raise answers[0]
            return answers

    async def bytes_of(self, key: str) -> dict[str, bytes]:
        """A hash whose values are bytes: a script's answer would come back as text. Raises as `run` does."""
        with self._observed("progress"), translating():
            command: Any = self._redis.execute_command  # redis-py does not type it
            found = await command("HGETALL", key, **{NEVER_DECODE: True})
        return {field.decode(): value for field, value in found.items()}

    @contextmanager
    def _observed(self, verb: str) -> Iterator[None]:
        if self._on_call is None:
            yield
            return
        began = time.perf_counter()
        try:
            yield
        except Exception:
            self._on_call(verb, time.perf_counter() - began, failed=True)
            raise
        self._on_call(verb, time.perf_counter() - began, failed=False)

    async def _sent(self, words: Words) -> Any:
        """A connection that Redis closed, as it does when it restarts, may be found out only by the next command: it is
        sent again on another. A time-out is not repeated here: the first copy may still be running.
        """
        try:
            return await self._redis.wire.send(*words)
        except BusyLoadingError:
            raise
        except RedisConnectionError:
            return await self._redis.wire.send(*words)

    async def _twice(self, script: Callable[..., Awaitable[Any]], values: Sequence[str | bytes | float]) -> Any:
        """As `_sent`, of what goes over the pool, which looks at a connection before it gives it out."""
        try:
            return await script(keys=[self._prefix], args=values)
        except BusyLoadingError:
            raise
        except RedisConnectionError as error:
            if isinstance(error.__cause__, TimeoutError):  # none was free in time: nothing is wrong with those in use
                raise
            return await script(keys=[self._prefix], args=values)


@contextmanager
def translating() -> Iterator[None]:
    """Redis's failures as the store's."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise _translated(error) from error


def _translated(error: Exception) -> Exception:
    """The error itself when it is a bug and no failure of Redis."""
    if not isinstance(error, RedisError | OSError):
        return error
    if not isinstance(error, ResponseError | BusyLoadingError):
        return StoreUnavailable(f"Redis did not answer: {error}")
    code = code_of(str(error))
    if isinstance(error, OutOfMemoryError) or code in FULL:
        return StorageFull(f"Redis takes no more writes: {error}")
    if isinstance(error, BusyLoadingError) or code == "LOADING":
        return StoreLoading(f"Redis is loading its data: {error}")
    if isinstance(error, ReadOnlyError) or code in AWAY:
        return StoreUnavailable(f"Redis is not ready: {error}")
    return error


_OF_A_SCRIPT = re.compile(r"(?:ERR )?Error running script .*?: -([A-Z]+) ")


def code_of(said: str) -> str:
    """The word that an error of Redis begins with. Before Redis 7 an error inside a script stood at the end of another:
    `Error running script (call to f_5838…): @user_script:33: @user_script: 33: -OOM command not allowed …`
    """
    found = _OF_A_SCRIPT.match(said)
    return found[1] if found else said.partition(" ")[0]
