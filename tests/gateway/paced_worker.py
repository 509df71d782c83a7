"""A worker process whose tasks make model and tool calls at a pace: `walk STEPS PATH` makes so many, and in the middle
waits until the file exists. Run by the tests as a program of its own.
"""

import asyncio
import os
import sys
from pathlib import Path

import uvloop

from agent.meter import Meter
from agent.run_context import StepListener
from agent.work import AgentWork, Answer
from core_config import Settings
from monitoring.logs import setup_logging
from monitoring.tracing import Tracing
from taskstore.records import WorkerInfo
from tests.worker.scripted import a_step, until
from worker.engine import Engine
from worker.executor import Executor


class PacedRunner:
    async def run(
        self, work: AgentWork, meter: Meter, *, callbacks: object = (), on_step: StepListener | None = None
    ) -> Answer:
        _, steps, path = work.message.split(" ", 2)
        for number in range(1, int(steps) + 1):
            a_step(on_step, number)
            await asyncio.sleep(0.002)
            if number == int(steps) // 2:
                Path(f"{path}.half").touch()
                await until(path)
        return Answer("walked")


def main() -> None:
    settings = Settings(_env_file=None)
    redact = setup_logging(settings, "worker")
    asyncio.set_event_loop(uvloop.new_event_loop())
    about = WorkerInfo(sys.argv[1], "test", os.getpid(), "test", settings.worker_concurrency, 0)
    Engine(settings, Executor(PacedRunner(), Tracing(settings, redact)), about, {"Simulator": None}).run()


if __name__ == "__main__":
    main()
