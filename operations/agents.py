"""What the workers say of the agents, for `start`, `restart` and `status`."""

import asyncio
import sys

from core_config import Settings
from operations.runstate import RunState
from taskstore.connection import connect
from taskstore.errors import StoreError
from taskstore.records import Overview
from taskstore.store import TaskStore


def redis_url(settings: Settings, state: RunState) -> str:
    return state.redis_url if state.redis_is_private else settings.redis_address


def overview(settings: Settings, url: str) -> Overview:
    """Raises what the store raises."""

    async def ask() -> Overview:
        async with connect(url) as client:
            return await TaskStore(client, settings).overview()

    return asyncio.run(ask())


def warn(settings: Settings, state: RunState) -> None:
    """Says which agents cannot be run, and why."""
    try:
        said = overview(settings, redis_url(settings, state)).agents
    except StoreError:
        return  # `status` has more to say of that
    problems = {name: report.problem for name, report in said.items() if report.problem is not None}
    if not problems:
        return
    lines = [f"\nWarning: {len(problems)} of {len(said)} agents cannot be run. Tasks for them are refused; others run."]
    lines += [f"  {name}: {problem}" for name, problem in problems.items()]
    print("\n".join(lines), file=sys.stderr)
