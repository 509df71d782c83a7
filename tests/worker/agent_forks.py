"""Worker processes with the real agent, forked from one that has imported it: a start then takes milliseconds."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable

from agent.errors import AgentError
from agent.meter import Meter
from agent.runner import AgentRunner
from agent.work import AgentWork
from core_config import SIMULATOR, Settings


async def _warm_up() -> None:
    """What the first call loads, all workers have: it fails, since nobody listens there."""
    runner = AgentRunner(Settings(_env_file=None, simulator_port=1))
    with contextlib.suppress(AgentError):
        await runner.run(AgentWork(task_id="t", message="go", model=SIMULATOR), Meter())
    await runner.close()


def fork_workers(run: Callable[..., None]) -> None:
    """Until stdin ends: forks a worker for each of its lines, JSON of `run`'s arguments, and answers with its id."""
    asyncio.run(_warm_up())
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
