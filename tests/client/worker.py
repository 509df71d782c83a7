"""A worker process that does what tests/worker/scripted.py does, for the model that a gateway names without keys."""

import asyncio
import os

import uvloop

from core_config import Settings
from monitoring.logs import setup_logging
from monitoring.tracing import Tracing
from taskstore.records import WorkerInfo
from tests.worker.scripted import ScriptedRunner
from worker.engine import Engine
from worker.executor import Executor


def main() -> None:
    settings = Settings(_env_file=None)
    redact = setup_logging(settings, "worker")
    asyncio.set_event_loop(uvloop.new_event_loop())
    about = WorkerInfo("w", "test", os.getpid(), "test", settings.worker_concurrency, 0)
    Engine(settings, Executor(ScriptedRunner(), Tracing(settings, redact)), about, {"Simulator": None}).run()


if __name__ == "__main__":
    main()
