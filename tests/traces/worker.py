"""Worker processes with the real agent, which send traces. Run by the tests as a program.

It imports once, and forks a worker for each line of its input, JSON `{"name", "settings", "log"}`; it answers with the
worker's process id.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from typing import Any

import langfuse.langchain  # noqa: F401  once for all
import uvloop

from agent.errors import AgentError
from agent.meter import Meter
from agent.runner import AgentRunner
from agent.work import AgentWork
from core_config import SIMULATOR, Settings, load_registry
from monitoring.logs import setup_logging
from monitoring.tracing import Tracing
from taskstore.records import WorkerInfo
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
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            sys.stdin.close()
            try:
                run(**json.loads(line))
            finally:
                os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
