"""Who takes part in the queue's rows, and how each is started: a worker process, and a client process beside it."""

import asyncio
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import psutil

from loadtest.bench import longhaul
from loadtest.bench.peers import longhaul_agent
from loadtest.bench.peers.marks import Marks
from loadtest.bench.stage import BenchError, Program, Stage
from loadtest.bench.study import LONGHAUL, Contender, Kind, Measure

WARM_UP = 0
"""The number of the task that shows that a worker works. Measured tasks have higher ones."""

_UP_SECONDS = 300.0


@dataclass(frozen=True)
class Race:
    """One entrant's worker and client, ready and warm."""

    workers: Sequence[int]
    """Process ids; those of a peer's are the first of a family."""
    client: Program
    marks: Marks

    async def ask(self, do: str, **wanted: Any) -> dict[str, Any]:
        """What the client answers: loadtest/bench/peers/driver.py. Raises BenchError when it has ended."""
        pipe_in, pipe_out = self.client.process.stdin, self.client.process.stdout
        if pipe_in is None or pipe_out is None:
            raise BenchError("the client was started without pipes")
        with suppress(ConnectionError):
            pipe_in.write(json.dumps({"do": do, **wanted}).encode() + b"\n")
            await pipe_in.drain()
        line = await pipe_out.readline()
        if not line:
            await self.client.process.wait()
            self.client.check()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def pause(self) -> None:
        for process in self._family():
            process.suspend()

    def go(self) -> None:
        for process in self._family():
            process.resume()

    def cpu_seconds(self) -> float:
        """Processor time of the workers' families so far."""
        return sum(sum(process.cpu_times()[:2]) for process in self._family())

    async def all_ended(self, first: int, count: int, within_s: float) -> None:
        """Until the tasks of these numbers have each ended once. Raises BenchError when they do not."""
        until = asyncio.get_running_loop().time() + within_s
        wanted = set(range(first, first + count))
        while asyncio.get_running_loop().time() < until:
            wanted -= {mark.number for mark in self.marks.all() if mark.ended}
            if not wanted:
                return
            await asyncio.sleep(0.05)
        raise BenchError(f"{len(wanted)} of {count} tasks had not ended after {within_s:g} s")

    def _family(self) -> list[psutil.Process]:
        found = []
        for pid in self.workers:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                found += [process, *process.children(recursive=True)]
        return found


@dataclass(frozen=True)
class Entrant:
    """A queue. `runs_in`: which environment; `backlog`: no-op tasks that take it some seconds."""

    name: str
    module: str
    runs_in: Literal["ours", "peers"] = "peers"
    kind: Kind = "peer"
    backlog: int = 3000

    async def enter(self, stage: Stage, concurrency: int = 10, workers: int = 1) -> Race:
        """Workers of this concurrency, one process each, and a client; a first task has run."""
        marks = stage.folder / "marks"
        marks.mkdir()
        given = {"BENCH_REDIS": stage.redis_url, "BENCH_CONCURRENCY": str(concurrency), "BENCH_MARKS": str(marks)}
        command = self._command(stage)
        started = [
            await stage.start(f"worker-{number}", [*command, "worker"], environment=given)
            for number in range(1, workers + 1)
        ]
        client = await stage.start("client", [*command, "client"], environment=given, stdin=True, stdout=True)
        race = Race([one.pid for one in started], client, Marks(marks))
        await _warm(race, started)
        return race

    def _command(self, stage: Stage) -> list[str]:
        python = stage.means.python if self.runs_in == "ours" else stage.means.peers_python
        return [str(python), "-m", self.module]


@dataclass(frozen=True)
class LonghaulEntrant:
    """`supervised`: the whole system under `manage.py`; otherwise `python -m worker` alone."""

    name: str = LONGHAUL
    runs_in: Literal["ours"] = "ours"
    kind: Kind = "ours"
    supervised: bool = True
    backlog: int = 3000

    async def enter(self, stage: Stage, concurrency: int | None = None, workers: int = 1) -> Race:
        """`concurrency` None is the default of Longhaul's settings."""
        marks = stage.folder / "marks"
        marks.mkdir()
        settings = {"AGENTS_FILE": str(agents_file(marks))}
        if concurrency is not None:
            settings["WORKER_CONCURRENCY"] = str(concurrency)
        if workers != 1:
            settings["WORKER_PROCESSES"] = str(workers)
        pids, environment, started = await (_managed(stage, settings) if self.supervised else _alone(stage, settings))
        given = {"BENCH_REDIS": stage.redis_url, "BENCH_CONCURRENCY": "0", "BENCH_MARKS": str(marks)}
        command = [str(stage.means.python), "-m", "operations.bench_client", "noop", "Simulator"]
        client = await stage.start("client", command, environment={**environment, **given}, stdin=True, stdout=True)
        race = Race(pids, client, Marks(marks))
        stage.stack.callback(race.go)  # who stands still would not hear that it is to stop
        await _warm(race, started)
        return race


Started = tuple[Sequence[int], Mapping[str, str], Sequence[Program]]
"""Workers' process ids, the environment of them all, and the programs that are ours to watch."""


async def _managed(stage: Stage, settings: Mapping[str, str]) -> Started:
    system = await longhaul.start(stage, settings)
    pids = [pid for name, pid in system.processes.items() if name.startswith("worker-")]
    return pids, system.environment, ()


async def _alone(stage: Stage, settings: Mapping[str, str]) -> Started:
    environment = longhaul.environment_of(stage, "", settings)
    command = [str(stage.means.python), "-m", "worker"]
    started = [
        await stage.start(f"worker-{number}", command, environment=environment)
        for number in range(1, int(settings.get("WORKER_PROCESSES", "1")) + 1)
    ]
    return [one.pid for one in started], environment, started


def contender(entrant: Entrant | LonghaulEntrant, measure: Measure) -> Contender:
    return Contender(
        entrant.name,
        measure,
        entrant.kind,
        peers_environment=entrant.runs_in == "peers",
    )


def agents_file(folder: Path) -> Path:
    """An agents file with the agent `noop`, a plain function that marks in `folder` when it runs."""
    shutil.copy(longhaul_agent.__file__, folder / "longhaul_agent.py")
    path = folder / "agents.toml"
    path.write_text('[agents.noop]\nrun = "longhaul_agent:agent"\n')
    return path


async def _warm(race: Race, started: Sequence[Program]) -> None:
    submitted = asyncio.ensure_future(race.ask("submit", first=WARM_UP, count=1))
    until = asyncio.get_running_loop().time() + _UP_SECONDS
    while not any(mark.ended for mark in race.marks.of(WARM_UP)):
        for program in started:
            program.check()
        if asyncio.get_running_loop().time() > until:
            raise BenchError(f"no task ran within {_UP_SECONDS:g} s")
        await asyncio.sleep(0.02)
    await submitted


FLOOR: Final = Entrant("raw BLPOP", "loadtest.bench.peers.floor", runs_in="ours", kind="floor")
PEERS: Final = (
    Entrant("arq", "loadtest.bench.peers.arq_queue", runs_in="ours", backlog=1000),
    Entrant("SAQ", "loadtest.bench.peers.saq_queue"),
    Entrant("streaq", "loadtest.bench.peers.streaq_queue"),
    Entrant("taskiq", "loadtest.bench.peers.taskiq_queue"),
    Entrant("taskiq-lists", "loadtest.bench.peers.taskiq_lists"),
    Entrant("Celery", "loadtest.bench.peers.celery_queue", backlog=1000),
    Entrant("dramatiq", "loadtest.bench.peers.dramatiq_queue"),
)
