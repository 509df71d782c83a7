"""Where one contender is measured: a folder, an emptied Redis, and processes that end with the visit."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

KEPT: Final = ("PATH", "HOME", "LANG", "TMPDIR", "LONGHAUL_TEST_RUN")
"""Of the environment; all else would be the settings and keys of whoever runs it. The last one marks a test run's."""

_LAST_LINES = 15


class BenchError(Exception):
    """Why a contender could not be measured."""


@dataclass(frozen=True)
class Means:
    """What a run is given. `longhaul` is a clean copy of the project, `peers_python` the Python of the peers'
    environment, which is there when somebody who is to be measured wants it, and `redis_command(port, folder)` the
    private Redis's.
    """

    longhaul: Path
    python: Path
    peers_python: Path
    redis_command: Callable[[int, Path], Sequence[str]]
    long: bool = False


class Program:
    """A process in a group of its own."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name, self.process, self.log = name, process, log

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        """To the whole group: peers' workers are families."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def check(self) -> None:
        if self.process.returncode is not None:
            raise BenchError(f"{self.name} ended (exit {self.process.returncode}): {self.last_lines()}")

    def last_lines(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:])

    async def end(self) -> None:
        """Kills the group: nothing that it still does is wanted."""
        self.send(signal.SIGKILL)
        await self.process.wait()


@dataclass
class Stage:
    """A visit's own. `long`: what is bounded in a quick run may take its time."""

    means: Means
    redis: Redis
    redis_url: str
    redis_pid: int
    folder: Path
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def long(self) -> bool:
        return self.means.long

    async def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        stdin: bool = False,
        stdout: bool = False,
    ) -> Program:
        """A process with a log in the stage's folder, ended with the visit. `stdin`, `stdout`: through a pipe."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *map(str, command),
                cwd=cwd or self.means.longhaul,
                env={**kept_environment(), **(environment or {})},
                stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if stdout else output,
                stderr=output,
                start_new_session=True,
                limit=2**24,
            )
        program = Program(name, process, log)
        self.stack.push_async_callback(program.end)
        return program

    async def reads(self) -> int:
        """Read events of Redis so far: what a client sends in one go is one. Asking is one more."""
        return int((await self.redis.info("stats"))["total_reads_processed"])


def kept_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in KEPT if name in os.environ}


def free_port() -> int:
    """A port of 127.0.0.1 where nobody listens at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Theatre:
    """The run's one Redis, and a stage for each visit."""

    def __init__(self, means: Means, folder: Path, redis: Redis, url: str, pid: int) -> None:
        self._means, self._folder, self._redis, self._url, self._pid = means, folder, redis, url, pid
        self._visits = 0

    @asynccontextmanager
    async def stage(self) -> AsyncIterator[Stage]:
        self._visits += 1
        folder = self._folder / f"visit-{self._visits}"
        folder.mkdir()
        await self._redis.flushall()
        stage = Stage(self._means, self._redis, self._url, self._pid, folder)
        async with stage.stack:
            yield stage


@asynccontextmanager
async def theatre(means: Means, folder: Path) -> AsyncIterator[Theatre]:
    """Starts the private Redis on a free loopback port. Raises BenchError when it does not come up."""
    home = folder / "redis"
    home.mkdir(parents=True)
    port = free_port()
    log = folder / "redis.log"
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *map(str, means.redis_command(port, home)),
            stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    program = Program("redis", process, log)
    url = f"redis://127.0.0.1:{port}/0"
    redis = Redis.from_url(url, decode_responses=True)
    try:
        await _until_up(redis, program)
        yield Theatre(means, folder, redis, url, program.pid)
    finally:
        await redis.aclose()
        await program.end()


async def _until_up(redis: Redis, program: Program) -> None:
    for _ in range(600):
        program.check()
        try:
            await redis.ping()
        except (RedisError, OSError):
            await asyncio.sleep(0.05)
        else:
            return
    raise BenchError("the private Redis did not start")
