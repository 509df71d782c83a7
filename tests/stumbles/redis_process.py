"""A Redis that a test fills, freezes, kills, restarts slowly and robs of its disk; and a proxy before it."""

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import redis

from operations.embedded_redis import find_server, server_arguments
from tests.chaos.proxy import Proxy
from tests.conftest import RedisServer

T = TypeVar("T")

SLOWLY = ("--key-load-delay", "100")
"""Microseconds at each command of the append-only file. Every thousand commands it answers that it is loading."""
SLOW_COMMANDS = 100_000
"""Ten seconds and more, so."""


class StumblingRedis(RedisServer):
    def __init__(self, folder: Path, **environment: str) -> None:
        super().__init__(folder)
        self._environment = {**os.environ, **environment}
        self.client: redis.Redis = redis.Redis.from_url(self.url, decode_responses=True, socket_timeout=10)

    def launch(self, *options: str) -> None:
        """Starts it without waiting until it answers."""
        command = [str(find_server()), *server_arguments(self.port, self.folder), *options]
        with (self.folder / "redis.log").open("ab") as log:
            # the signal of a file that reaches its limit stays ignored, as Python ignores it: the write fails instead
            self.process = subprocess.Popen(
                command, env=self._environment, stdout=log, stderr=log, restore_signals=False
            )

    def start(self, *options: str) -> None:
        self.launch("--auto-aof-rewrite-percentage", "0", *options)
        until(self.answers, "the tests' Redis answers")

    def lose_power(self, length: int, *options: str) -> None:
        """Kills it, and starts it on as much of its append-only file as was on the disk."""
        self.kill()
        os.truncate(self.append_only_file, length)
        self.start(*options)

    def write_much(self) -> None:
        """Commands for it to load, of little consequence."""
        with self.client.pipeline(transaction=False) as pipe:
            for _ in range(SLOW_COMMANDS):
                pipe.set("much", "")
            pipe.execute()

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def is_loading(self) -> bool:
        try:
            self.client.ping()
        except redis.BusyLoadingError:
            return True
        except redis.RedisError:
            return False
        return False

    def has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        self.client.close()
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
        self.kill()

    def log(self) -> str:
        return (self.folder / "redis.log").read_text()

    @property
    def append_only_file(self) -> Path:
        """The one that is being written: Redis 7 keeps several in a folder, earlier ones had one."""
        files = [*self.folder.glob("appendonlydir/*.incr.aof"), *self.folder.glob("appendonly.aof")]
        return max(files, key=lambda path: path.stat().st_mtime)

    @contextlib.contextmanager
    def full_disk(self) -> Iterator[None]:
        """No file of this process can grow: its writes fail as they do on a full disk."""
        assert self.process is not None
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (self.append_only_file.stat().st_size, hard))
        try:
            yield
        finally:
            if not self.has_ended():
                resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (hard, hard))

    @contextlib.contextmanager
    def full_memory(self) -> Iterator[None]:
        self.client.config_set("maxmemory", "1")
        try:
            yield
        finally:
            self.client.config_set("maxmemory", "0")

    def contents(self) -> dict[str, bytes | None]:
        """Every key and what it holds, as bytes that can be compared."""
        with redis.Redis.from_url(self.url) as client:
            return {key.decode(): client.dump(key) for key in client.scan_iter()}


class ProxyThread:
    """A proxy with an event loop of its own, so that whole systems and tests can share it."""

    def __init__(self, target_port: int) -> None:
        self.proxy = Proxy(target_port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.proxy.start(), self._loop).result(10)
        self.url = f"redis://127.0.0.1:{self.proxy.port}/0"

    def do(self, fault: Callable[..., Any], *arguments: Any) -> Any:
        """Calls one of the proxy's faults where its connections live."""

        async def call() -> Any:
            return fault(*arguments)

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    def stop(self) -> None:
        self.do(self.proxy.cut)
        until(lambda: not self.proxy.connections, "its connections end")
        asyncio.run_coroutine_threadsafe(self.proxy.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


def until(look: Callable[[], T | None], what: str, within_s: float = 60) -> T:
    """The first true answer of `look`; fails when there is none within the time."""
    deadline = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"it did not happen in time: {what}"
        time.sleep(0.02)
    return found
