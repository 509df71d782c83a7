"""Worker processes with the real agent and the tools of counting_tools.py. Run by the tests as a program.

It imports once, and forks a worker for each line of its input, JSON `{"name", "settings", "die", "journal"}`; it
answers with the worker's process id. `die` is the point at which the worker kills itself with SIGKILL: `before` or
`after` (the answer of Redis to) the nth write of progress, as `before 2`; `before settle` or `after settle`; when
`1 answers` are acknowledged, or that a call has `begun`; or `never`. To `journal` it appends how many `answers` and
`tokens` each write told that Redis has acknowledged.
"""

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop

from agent.runner import AgentRunner
from core_config import Settings, load_registry
from monitoring.logs import setup_logging
from monitoring.tracing import Tracing
from taskstore.claims import Settled, Settlement
from taskstore.records import WorkerInfo
from taskstore.steps import StepBatch
from taskstore.store import TaskStore
from tests.worker.agent_forks import fork_workers
from worker.engine import Engine
from worker.executor import Executor
from worker.ledger import BEGUN
from worker.progress import ANSWERED


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

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        self._reached("before settle")
        words = await super().settle(settlements)
        self._reached("after settle")
        return words


def run(name: str, settings: dict[str, Any], die: str, journal: str) -> None:
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


if __name__ == "__main__":
    fork_workers(run)
