"""Worker processes with the real agent, which send traces. Run by the tests as a program.

It imports once, and forks a worker for each line of its input, JSON `{"name", "settings", "log"}`; it answers with the
worker's process id.
"""

import asyncio
import os
from typing import Any

import langfuse.langchain  # noqa: F401  once for all
import uvloop

from agent.runner import AgentRunner
from core_config import Settings, load_registry
from monitoring.logs import setup_logging
from monitoring.tracing import Tracing
from taskstore.records import WorkerInfo
from tests.worker.agent_forks import fork_workers
from worker.engine import Engine
from worker.executor import Executor


def run(name: str, settings: dict[str, Any], log: str) -> None:
    with open(log, "ab", buffering=0) as out:  # noqa: PTH123  its descriptor takes the place of stderr
        os.dup2(out.fileno(), 2)
    chosen = Settings(_env_file=None, **settings)
    redact = setup_logging(chosen, "worker")
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    runner, tracing = AgentRunner(chosen), Tracing(chosen, redact, name)

    async def close(ctx: dict[Any, Any]) -> None:
        await runner.close()
        await tracing.close()

    Engine(
        chosen,
        Executor(runner, tracing),
        WorkerInfo(name, "test", os.getpid(), "test", chosen.worker_concurrency, 0),
        dict.fromkeys(load_registry(chosen)),
        redact=redact,
        on_shutdown=close,
    ).run()


if __name__ == "__main__":
    fork_workers(run)
