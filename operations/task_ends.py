"""How tasks have ended, asked of the store: some end in no worker, and so without a line of their own."""

import asyncio
from collections.abc import Collection

from redis.exceptions import RedisError

from core_config import Settings
from operations import configuration
from operations.cost import redis_of
from operations.errors import CommandError
from taskstore.connection import connect
from taskstore.errors import StoreError, TaskNotFound
from taskstore.store import TaskStore


class TaskEnds:
    def __init__(self) -> None:
        self.told: dict[str, str] = {}
        """Task and how it ended, of those known to have."""

    def look(self, tasks: Collection[str]) -> bool:
        """Whether all of these have ended. A store that cannot be asked now is asked again at the next look."""
        try:
            settings = configuration.load()
            asyncio.run(self._look(settings, redis_of(settings), tasks))
        except (CommandError, RedisError, StoreError, OSError):
            return False
        return all(task in self.told for task in tasks)

    async def _look(self, settings: Settings, url: str, tasks: Collection[str]) -> None:
        async with connect(url) as client:
            store = TaskStore(client, settings)
            for task in tasks:
                if task in self.told:
                    continue
                try:
                    record = await store.get(task)
                except TaskNotFound:
                    self.told[task] = "not in Redis: it never was, or its retention is over"
                else:
                    if record.is_final:
                        code = f" ({record.error_code})" if record.error_code else ""
                        self.told[task] = f"{record.status.value}{code}"
