"""One run: a private deployment, clients, a fault every few seconds, and the verdict of what was seen."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from core_config import SIMULATOR
from tests.chaos.audit import Auditor
from tests.chaos.clients import ERRANDS, OWN_ERRANDS, Clients
from tests.chaos.faults import Faults, Struck
from tests.chaos.journals import ClientLog, Evidence, Strike, save
from tests.chaos.model_server import ModelServer
from tests.chaos.processes import Deployment, NotStartedError, Size
from tests.chaos.schedule import Fault, Kind, Schedule
from tests.chaos.stalls import Stalls
from tests.chaos.system import TOOL_SECONDS_VARIABLE, System
from tests.chaos.verdict import Verdict, judge
from tests.chaos.witness import Line, Reader

OURS: Final = ("plain", "real")
IN_MODEL, IN_TOOL = 5, 1
"""How many tasks must be in a model call and in a tool when a fault strikes."""
_WAIT_FOR_WORK_S: Final = 10.0
_LOOK_S: Final = 0.1
_SETTLE_S: Final = 600.0
"""After the faults, until when every task must be final: a poison task's eighth process may take a while to come."""
_FORGOTTEN_S: Final = 10.0
"""A tool that has not ended by then was cut off."""
_SAY_EVERY_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    tasks: int = 1000
    seed: int = 1
    every_s: float = 3.0
    agent: str = "plain"
    words: str = "Compute 6 * 7"
    """What every task's message says, beside its mark."""
    at_once: int = 90
    """Tasks that clients have open at a time."""
    most_faults: int | None = None
    """After which nothing strikes any more; None for as long as there are tasks."""
    floor: int = 200
    """Least in flight at all strikes together."""
    tool_s: float = 0.3
    size: Size = field(default_factory=Size)
    report_deaths: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of the user's own, for an agent of the user's own."""

    @property
    def is_ours(self) -> bool:
        """Whether the agent bears witness, ends its process when it is told to, and passes on what its task says."""
        return self.agent in OURS


async def run(system: System, options: Options, folder: Path) -> tuple[Evidence, Verdict]:
    """Raises NotStartedError. Nothing that it started is left when it returns or raises."""
    environment = {**options.environment, TOOL_SECONDS_VARIABLE: str(options.tool_s)}
    deployment = Deployment(system, folder, options.size, environment, report_deaths=options.report_deaths)
    try:
        await deployment.start()
        return await _Run(system, options, deployment).all()
    finally:
        await deployment.stop()


class _Run:
    def __init__(self, system: System, options: Options, deployment: Deployment) -> None:
        self._system, self._options, self._deployment = system, options, deployment
        self._log = ClientLog(deployment.folder / "clients.jsonl")
        self._clients = Clients(
            system,
            deployment.urls,
            self._log,
            {"agent": system.agent_name(options.agent), **({} if options.is_ours else {"model": SIMULATOR})},
            words=options.words,
            seed=options.seed,
            tasks=options.tasks,
            at_once=options.at_once,
            errands=ERRANDS if options.is_ours else OWN_ERRANDS,
        )
        self._models = ModelServer(deployment.simulator_url)
        self._faults = Faults(deployment, self._models, self._clients.poison)
        self._auditor = Auditor(system, deployment.redis_url)
        self._reader = Reader(deployment.witness)
        self._in_tool: dict[str, Line] = {}
        self._evidence = Evidence()
        self._struck: list[tuple[Fault, Struck, int, int]] = []

    async def all(self) -> tuple[Evidence, Verdict]:
        began = time.monotonic()
        stalls = Stalls()
        self._auditor.start()
        clients = asyncio.create_task(self._clients.run())
        saying = asyncio.create_task(self._say_how_far())
        looking = asyncio.create_task(stalls.look())
        try:
            await self._strike_while(clients)
            await self._faults.healed()
            with suppress(TimeoutError):
                await asyncio.wait_for(clients, _SETTLE_S)
            await self._clients.look_again()
            await self._auditor.stop()
            await self._collect()
        finally:
            for task in (clients, saying, looking):
                task.cancel()
            await asyncio.gather(clients, saying, looking, return_exceptions=True)
            await self._clients.close()
            await self._models.close()
            self._log.close()
        self._evidence.stalls = sorted([*stalls.seen, *self._auditor.held])
        self._evidence.seconds = time.monotonic() - began
        save(self._evidence, self._deployment.folder)
        size = self._options.size
        verdict = judge(
            self._evidence,
            self._system,
            max_crashes=size.max_crashes,
            lease_s=size.lease_s,
            floor=self._options.floor,
            knows_steps=self._options.is_ours,
        )
        return self._evidence, verdict

    async def _strike_while(self, clients: "asyncio.Task[None]") -> None:
        """A fault every few seconds, until there is too little left to do to strike at."""
        schedule = Schedule(self._options.seed, without=() if self._options.is_ours else (Kind.POISON,))
        due = time.monotonic() + self._options.every_s
        while not clients.done() and self._has_work() and len(self._struck) != self._options.most_faults:
            if self._deployment.failure:
                raise NotStartedError(f"{self._deployment.failure}\n{self._deployment.logs()}")
            await asyncio.sleep(max(0.0, min(due - time.monotonic(), _LOOK_S)))
            if time.monotonic() < due:
                continue
            fault = schedule.next()
            in_model, in_tool = await self._work()
            if in_model < IN_MODEL or in_tool < self._tools_wanted():
                self._evidence.skipped += 1
            else:
                self._struck.append((fault, await self._faults.strike(fault), in_model, in_tool))
            due = max(due + self._options.every_s, time.monotonic())

    def _has_work(self) -> bool:
        return self._clients.left > 0 or self._clients.open > self._options.at_once / 2

    async def _work(self) -> tuple[int, int]:
        """Tasks in a model call and in a tool, as soon as there are enough, or when it took too long."""
        until = time.monotonic() + _WAIT_FOR_WORK_S
        while True:
            in_model, in_tool = await self._models.in_calls(IN_MODEL), self._tools()
            enough = in_model >= IN_MODEL and in_tool >= self._tools_wanted()
            if enough or time.monotonic() > until:
                return in_model, in_tool
            await asyncio.sleep(_LOOK_S)

    def _tools_wanted(self) -> int:
        return IN_TOOL if self._options.is_ours else 0

    def _tools(self) -> int:
        for line in self._reader.new():
            self._evidence.lines.append(line)
            if line.what == "begin":
                self._in_tool[line.key] = line
            elif line.what == "done":
                self._in_tool.pop(line.key, None)
        alive = {slot.pid for slot in self._deployment.up("worker")}
        now = time.time()
        return sum(line.pid in alive and now - line.at < _FORGOTTEN_S for line in self._in_tool.values())

    async def _collect(self) -> None:
        evidence = self._evidence
        self._tools()
        evidence.told = self._clients.told
        evidence.calls, evidence.unmarked_calls = await self._models.calls()
        evidence.strikes = [
            Strike(fault.number, fault.kind, struck.at, struck.until, struck.victims, struck.pids, in_model, in_tool)
            for fault, struck, in_model, in_tool in self._struck
        ]
        evidence.deaths = self._deployment.deaths
        evidence.audits, evidence.findings = self._auditor.audits, self._auditor.findings
        ids = [told.ids[0] for told in evidence.told.values() if told.ids]
        evidence.final_events = await self._counted(ids)

    async def _counted(self, ids: list[str]) -> dict[str, int] | None:
        found = await self._system.final_events(self._deployment.redis_url, ids)
        return None if found is None else dict(found)

    async def _say_how_far(self) -> None:
        began = time.monotonic()
        while True:
            await asyncio.sleep(_SAY_EVERY_S)
            print(
                f"{time.monotonic() - began:5.0f} s  {self._clients.done} of {self._options.tasks} done, "
                f"{self._clients.open} open, {len(self._struck)} faults struck",
                flush=True,
            )
