"""A worker's first word: which agents it can run. It comes before anybody hears of the worker, and before it claims."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from taskstore.errors import StoreUnavailable
from taskstore.store import TaskStore

from .outage import Outage
from .steps import Redact

AGAIN_AFTER_S = 0.5
LONGEST_PROBLEM = 2000

Prepare = Callable[[], Awaitable[Mapping[str, str | None]]]
"""Makes the agents ready: name -> None, or why it cannot be run and what to do."""

log = logging.getLogger(__name__)


async def announce(store: TaskStore, worker_id: str, prepare: Prepare, redact: Redact, outage: Outage) -> None:
    """Prepares the agents and tells the store, however long that takes. Raises what `prepare` raises."""
    agents: dict[str, str | None] = {}
    for name, problem in (await prepare()).items():
        # an import that fails may quote anything, and the problem is shown to operators
        agents[name] = None if problem is None else redact(problem)[:LONGEST_PROBLEM]
        if problem is not None:
            log.error("agent_unavailable", extra={"agent": name, "problem": agents[name]})
    while True:
        try:
            await store.report(worker_id, agents)
        except StoreUnavailable as error:
            outage.goes_on(error, "reporting")
            await asyncio.sleep(AGAIN_AFTER_S)
        else:
            outage.is_over()
            return
