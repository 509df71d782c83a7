"""A worker whose agent answers with the message at once: the real engine and store, for tests that need thousands of
tasks to end. Run as a program of its own.
"""

import asyncio
import os

import uvloop

from agent.meter import Meter
from agent.work import AgentWork, Answer
from core_config import Settings, load_registry
from monitoring.logs import setup_logging
from monitoring.tracing import Tracing
from taskstore.records import WorkerInfo
from worker.engine import Engine
from worker.executor import Executor


class EchoRunner:
    async def run(self, work: AgentWork, meter: Meter, *, callbacks: object = (), on_step: object = None) -> Answer:
        return Answer(work.message)


def main() -> None:
    settings = Settings(_env_file=None)
    redact = setup_logging(settings, "worker")
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    about = WorkerInfo("echo", "test", os.getpid(), "test", settings.worker_concurrency, 0)
    Engine(
        settings, Executor(EchoRunner(), Tracing(settings, redact)), about, dict.fromkeys(load_registry(settings))
    ).run()


if __name__ == "__main__":
    main()
