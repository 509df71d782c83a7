"""Telling the store what only the supervisor knows at once: that a worker is dead, and whether a new one is at work."""

import asyncio
import logging

from core_config import Settings

log = logging.getLogger(__name__)

_TRIES = 5


async def rescue(settings: Settings, redis_url: str, worker_id: str) -> None:
    """Gives the dead worker's tasks to others now, not when its leases end. Gives up in the end: then they do end."""
    from taskstore.connection import connect  # noqa: PLC0415 the supervisor starts without the store's imports
    from taskstore.store import TaskStore  # noqa: PLC0415 as above

    for attempt in range(_TRIES):
        try:
            async with connect(redis_url) as client:
                await TaskStore(client, settings).sweep(dead=worker_id)
        except Exception as error:  # noqa: BLE001 nothing that happens here may end the supervisor
            log.warning("cannot rescue the tasks of %s yet: %s", worker_id, error)
            await asyncio.sleep(0.5 * 2**attempt)
        else:
            log.info("rescued the tasks of %s", worker_id)
            return


async def is_at_work(settings: Settings, redis_url: str, worker_id: str) -> bool:
    """Whether the store has heard of this worker."""
    from taskstore.connection import connect  # noqa: PLC0415 as above
    from taskstore.store import TaskStore  # noqa: PLC0415 as above

    try:
        async with connect(redis_url) as client:
            overview = await TaskStore(client, settings).overview()
    except Exception as error:  # noqa: BLE001 as above
        log.warning("cannot ask for the workers: %s", error)
        return False
    return any(worker.id == worker_id for worker in overview.workers)
