"""Loaded by the nursery: what a worker of Longhaul loads, before it forks one. It has read no `.env`."""

import asyncio
import contextlib

from agent.errors import AgentError
from agent.meter import Meter
from agent.runner import AgentRunner
from agent.work import AgentWork
from core_config import SIMULATOR, Settings
from longhaul_testing.process import read_no_env_file
from tests.chaos import agent, agent_real
from worker import engine, executor

__all__ = ["agent", "agent_real", "engine", "executor"]


async def _first_call() -> None:
    """The libraries load more at the first call. It fails, since nobody listens there."""
    runner = AgentRunner(Settings(simulator_port=1))
    with contextlib.suppress(AgentError):
        await runner.run(AgentWork(task_id="t", message="go", model=SIMULATOR), Meter())
    await runner.close()


read_no_env_file()
asyncio.run(_first_call())
