"""The private deployment of a run: Redis, simulator, gateways and workers as processes, each with proxies of its own.

What dies is started again after a short pause, as a supervisor does. But nobody tells the system of a death, unless
`report_deaths` is set: leases and reapers have to find out.
"""

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from core_config import ROOT
from longhaul_testing.ports import free_port
from operations import leftovers
from operations.embedded_redis import find_server, server_arguments
from tests.chaos.journals import Death
from tests.chaos.proxy import Proxy
from tests.chaos.system import Place, Start, System

KEPT: Final = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH", "PYTHONPYCACHEPREFIX", leftovers.VARIABLE)
REDIS, SIMULATOR = "redis", "simulator"
JOURNAL_SIZE: Final = 1_000_000
_PAUSE_S: Final = 0.3
_REDIS_PAUSE_S: Final = 1.0
_LOAD_SECONDS: Final = 180.0
_READY_SECONDS: Final = 180.0
_END_SECONDS: Final = 30.0
_QUICK_S: Final = 2.0
_MOST_QUICK_DEATHS: Final = 5
_LOG_LINES: Final = 20


class NotStartedError(Exception):
    """The system does not come up. The message ends with what its processes said last."""


@dataclass(slots=True)
class Slot:
    """A place for one process, in which another one follows it when it dies."""

    name: str
    role: str
    make: Callable[[str], Start]
    pause_s: float
    proxy: Proxy | None = None
    """To Redis."""
    front: Proxy | None = None
    """From the clients, of a gateway."""
    pid: int | None = None
    process: str = ""
    """The name of the process of now: the slot's and a number."""
    began: float = 0.0
    generation: int = 0
    quick_deaths: int = 0
    struck: set[int] = field(default_factory=set)
    """Process ids that the kit itself has ended, or told to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    workers: int = 3
    gateways: int = 2
    slots: int = 40
    """Tasks at once in one worker."""
    lease_s: float = 3.0
    max_crashes: int = 8
    latency_s: float = 0.3
    """Of a model call."""


class Deployment:
    def __init__(
        self, system: System, folder: Path, size: Size, environment: Mapping[str, str], *, report_deaths: bool = False
    ) -> None:
        """`environment`: beside what the kit sets, for gateways and workers."""
        self.system, self.folder, self.size = system, folder, size
        self.witness = folder / "witness.jsonl"
        self.deaths: list[Death] = []
        self.failure: str | None = None
        self.redis_port, self.simulator_port = free_port(), free_port()
        self.redis_url = f"redis://127.0.0.1:{self.redis_port}/0"
        self.slots: dict[str, Slot] = {}
        self._environment = {name: os.environ[name] for name in KEPT if name in os.environ} | dict(environment)
        self._report_deaths = report_deaths
        self._nursery: asyncio.subprocess.Process | None = None
        self._asked: dict[str, asyncio.Future[int]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False

    # -- the whole

    async def start(self) -> None:
        """Returns when tasks will run. Raises NotStartedError."""
        await self._open_nursery()
        self._add(Slot(REDIS, REDIS, self._redis, _REDIS_PAUSE_S))
        self._add(Slot(SIMULATOR, SIMULATOR, self._simulator, _PAUSE_S))
        for number in range(1, self.size.gateways + 1):
            port = free_port()
            slot = self._add(Slot(f"gateway-{number}", "gateway", self._gateway(port), _PAUSE_S))
            slot.front = Proxy(port)
            await slot.front.start()
        for number in range(1, self.size.workers + 1):
            self._add(Slot(f"worker-{number}", "worker", self._worker, _PAUSE_S))
        for slot in self.slots.values():
            if slot.role in {"gateway", "worker"}:
                slot.proxy = Proxy(self.redis_port)
                await slot.proxy.start()
            await self._begin(slot)
        await self._until_ready()

    async def stop(self) -> None:
        """Ends every process and proxy. Stopping twice is harmless."""
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._nursery is not None and self._nursery.stdin is not None:
            self._nursery.stdin.close()  # whereupon it ends what it started, and itself
            try:
                await asyncio.wait_for(self._nursery.wait(), _END_SECONDS)
            except TimeoutError:
                self._nursery.kill()
                await self._nursery.wait()
        for slot in self.slots.values():
            for proxy in (slot.proxy, slot.front):
                if proxy is not None:
                    await proxy.stop()

    @property
    def urls(self) -> list[str]:
        """Of the gateways, each through its proxy."""
        return [f"http://127.0.0.1:{slot.front.port}" for slot in self.slots.values() if slot.front]

    @property
    def simulator_url(self) -> str:
        return f"http://127.0.0.1:{self.simulator_port}"

    def up(self, role: str) -> list[Slot]:
        """The slots of that role whose process is there."""
        return [slot for slot in self.slots.values() if slot.role == role and slot.pid is not None]

    def proxied(self) -> list[Slot]:
        return [slot for slot in self.slots.values() if slot.proxy is not None]

    def signal(self, slot: Slot, number: signal.Signals, *, ends: bool) -> int | None:
        """Sends it; answers the process id, or None when there was no process. `ends`: it will not outlive this."""
        if slot.pid is None:
            return None
        if ends:
            slot.struck.add(slot.pid)
        with suppress(ProcessLookupError):
            os.kill(slot.pid, number)
        return slot.pid

    def logs(self) -> str:
        """The last lines of every process."""
        parts = []
        for path in sorted(self.folder.glob("*.log")):
            parts += [f"{path.stem} | {line}" for line in path.read_text(errors="replace").splitlines()[-_LOG_LINES:]]
        return "\n".join(parts)

    # -- how each is started

    def _add(self, slot: Slot) -> Slot:
        self.slots[slot.name] = slot
        return slot

    def _redis(self, name: str) -> Start:
        folder = self.folder / "redis"
        folder.mkdir(exist_ok=True)
        command = (str(find_server()), *server_arguments(self.redis_port, folder), "--loglevel", "notice")
        return Start(environment=self._plain_environment(), command=command)

    def _simulator(self, name: str) -> Start:
        options = {"port": self.simulator_port, "latency": self.size.latency_s, "journal-size": JOURNAL_SIZE}
        arguments = tuple(word for option, value in options.items() for word in (f"--{option}", str(value)))
        return Start(environment=self._plain_environment(), module="loadtest.simulator", arguments=arguments)

    def _gateway(self, port: int) -> Callable[[str], Start]:
        return lambda name: self.system.gateway(self._place(name, port))

    def _worker(self, name: str) -> Start:
        return self.system.worker(self._place(name, 0))

    def _place(self, process: str, port: int) -> Place:
        slot = next(slot for slot in self.slots.values() if slot.process == process)
        assert slot.proxy is not None
        return Place(
            name=process,
            redis_url=f"redis://127.0.0.1:{slot.proxy.port}/0",
            simulator_port=self.simulator_port,
            port=port,
            folder=self.folder,
            witness=self.witness,
            slots=self.size.slots,
            lease_s=self.size.lease_s,
            max_crashes=self.size.max_crashes,
            environment=self._environment,
        )

    def _plain_environment(self) -> dict[str, str]:
        return {name: self._environment[name] for name in KEPT if name in self._environment}

    # -- the nursery

    async def _open_nursery(self) -> None:
        run_id = secrets.token_hex(8)
        with (self.folder / "nursery.log").open("ab") as log:
            self._nursery = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.chaos.nursery", run_id, *self.system.preload,
                cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
                env=leftovers.marked(self._plain_environment(), run_id), start_new_session=True,
            )  # fmt: skip
        self._asked["loaded"] = asyncio.get_running_loop().create_future()
        self._keep(self._listen())
        await asyncio.wait_for(self._asked["loaded"], _LOAD_SECONDS)

    async def _listen(self) -> None:
        assert self._nursery is not None
        assert self._nursery.stdout is not None
        while line := await self._nursery.stdout.readline():
            said = json.loads(line)
            if "ended" in said:
                self._ended(said["ended"], said["code"])
            elif "started" in said:
                slot = next(slot for slot in self.slots.values() if slot.process == said["started"])
                slot.pid, slot.began = said["pid"], time.time()  # here: its end may be the very next line
                self._asked.pop(said["started"]).set_result(said["pid"])
            else:
                self._asked.pop("loaded").set_result(0)
        for waiting in self._asked.values():
            waiting.set_exception(NotStartedError(f"the nursery ended\n{self.logs()}"))

    async def _begin(self, slot: Slot) -> None:
        assert self._nursery is not None
        assert self._nursery.stdin is not None
        slot.generation += 1
        slot.process = f"{slot.name}-{slot.generation}"
        start = slot.make(slot.process)
        wanted = {
            "id": slot.process,
            "environment": dict(start.environment),
            "command": start.command,
            "module": start.module,
            "arguments": start.arguments,
            "log": str(self.folder / f"{slot.name}.log"),
            "cwd": str(ROOT),
        }
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._asked[slot.process] = answer
        self._nursery.stdin.write(json.dumps(wanted).encode() + b"\n")
        await answer

    def _ended(self, pid: int, code: int) -> None:
        slot = next((slot for slot in self.slots.values() if slot.pid == pid), None)
        if slot is None:
            return
        now = time.time()
        self.deaths.append(Death(slot.process, pid, now, code, pid in slot.struck))
        quick = now - slot.began < _QUICK_S and pid not in slot.struck
        slot.quick_deaths = slot.quick_deaths + 1 if quick else 0
        slot.pid = None
        if slot.quick_deaths >= _MOST_QUICK_DEATHS:
            self.failure = f"{slot.name} does not stay up (exit code {code})"
        elif not self._closing:
            self._keep(self._again(slot, slot.process))

    async def _again(self, slot: Slot, dead: str) -> None:
        if self._report_deaths and slot.role == "worker":
            self._keep(self._report(dead))
        await asyncio.sleep(slot.pause_s)
        await self._begin(slot)

    async def _report(self, dead: str) -> None:
        with suppress(Exception):  # Redis may be away, and then the lease has to do
            await self.system.report_death(self.redis_url, dead)

    def _keep(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _until_ready(self) -> None:
        until = time.monotonic() + _READY_SECONDS
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            waiting = [f"{url}{self.system.ready_path}" for url in self.urls] + [f"{self.simulator_url}/health"]
            while waiting:
                if self.failure or time.monotonic() > until:
                    raise NotStartedError(f"{self.failure or 'the system was not ready in time'}\n{self.logs()}")
                with suppress(httpx.TransportError):
                    if (await client.get(waiting[0])).status_code == httpx.codes.OK:
                        waiting.pop(0)
                        continue
                await asyncio.sleep(0.1)
