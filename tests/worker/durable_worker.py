"""Worker processes with the real agent, and tools that count their calls in a file. Run by the tests as a program.

It imports once, and forks a worker for each line of its input, JSON `{"name", "settings", "die", "journal"}`; it
answers with the worker's process id. `die` is the point at which the worker kills itself with SIGKILL: `before` or
`after` (the answer of Redis to) the nth write of progress, as `before 2`; `before settle` or `after settle`; when
`1 answers` are acknowledged, or that a call has `begun`; or `never`. To `journal` it appends how many `answers` and
`tokens` each write told that Redis has acknowledged.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import uvloop
from langchain_core.tools import StructuredTool, tool

from agent import specs
from agent.errors import AgentError
from agent.meter import Meter
from agent.runner import AgentRunner
from agent.specs import AgentSpec
from agent.work import AgentWork
from core_config import SIMULATOR, Settings, load_registry
from monitoring.logs import setup_logging
from monitoring.tracing import Tracing
from taskstore.claims import Settlement
from taskstore.records import WorkerInfo
from taskstore.steps import StepBatch
from taskstore.store import TaskStore
from worker.engine import Engine
from worker.executor import Executor
from worker.ledger import BEGUN
from worker.progress import ANSWERED

Where = Annotated[str, "A file."]


@tool("add_line")
def add_line(file: Where, line: Annotated[str, "What to add."]) -> str:
    """Adds a line to a file."""
    with Path(file).open("a") as out:
        out.write(f"{line}\n")
    return f"added {line}"


@tool("add_line_and_hold")
def add_line_and_hold(file: Where, line: Annotated[str, "What to add."]) -> str:
    """Adds a line to a file, and ends when there is a file of that name and `.go`."""
    add_line.func(file, line)  # type: ignore[attr-defined]  # @tool's declared type is the widest it makes
    while not Path(f"{file}.go").exists():
        time.sleep(0.01)
    return f"added {line}"


def once(made: Any) -> StructuredTool:
    """The same as a tool that may not run twice."""
    return StructuredTool.from_function(
        made.func, name=f"{made.name}_once", description=made.description, metadata={"idempotent": False}
    )


TOOLS = (add_line, add_line_and_hold, once(add_line), once(add_line_and_hold))


class DyingStore(TaskStore):
    die = "never"
    journal = Path()
    _writes = 0

    def _reached(self, point: str) -> None:
        if point == self.die:
            os.kill(os.getpid(), signal.SIGKILL)

    async def step(self, batches: Sequence[tuple[str, int, StepBatch]]) -> Sequence[str]:
        counts = any(batch.progress and batch.progress.fields for _, _, batch in batches)
        self._writes += counts
        if counts:
            self._reached(f"before {self._writes}")
        words = await super().step(batches)
        for _, _, batch in batches:
            self._acknowledged(batch)
        if counts:
            self._reached(f"after {self._writes}")
        return words

    def _acknowledged(self, batch: StepBatch) -> None:
        if batch.progress is None:
            return
        answers = 0
        with self.journal.open("a") as out:
            if ANSWERED in batch.progress.fields:
                answers = int(batch.progress.fields[ANSWERED])
                out.write(f"answers {answers}\n")
            if batch.progress.spent is not None:
                out.write(f"tokens {batch.progress.spent.usage.total_tokens}\n")
        self._reached(f"{answers} answers")
        if any(name.startswith(BEGUN) for name in batch.progress.fields):
            self._reached("begun")

    async def settle(self, settlements: Sequence[Settlement]) -> list[str]:
        self._reached("before settle")
        words = await super().settle(settlements)
        self._reached("after settle")
        return words


def run(name: str, settings: dict[str, Any], die: str, journal: str) -> None:
    specs.AGENTS["counting"] = lambda _: AgentSpec(prompt="Do as you are told.", tools=TOOLS)  # type: ignore[arg-type]
    chosen = Settings(_env_file=None, **settings)
    setup_logging(chosen, "worker")
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    models = dict.fromkeys(load_registry(chosen))
    worker = WorkerInfo(name, "test", os.getpid(), "test", chosen.worker_concurrency, 0)
    engine = Engine(chosen, Executor(AgentRunner(chosen), Tracing(chosen, str)), worker, models)
    store = DyingStore(engine._redis, chosen)
    store.die, store.journal = die, Path(journal)
    engine.store = engine._writer._store = store
    engine.run()


async def warm_up() -> None:
    """What the first call loads, all workers have: it fails, since nobody listens there."""
    runner = AgentRunner(Settings(_env_file=None, simulator_port=1))
    with contextlib.suppress(AgentError):
        await runner.run(AgentWork(task_id="t", message="go", model=SIMULATOR), Meter())
    await runner.close()


def main() -> None:
    asyncio.run(warm_up())
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead are not waited for
    for line in sys.stdin:
        wanted = json.loads(line)
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            sys.stdin.close()
            try:
                run(**wanted)
            finally:
                os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
