"""Whether Redis takes what a submit writes, asked without writing anything."""

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from .errors import StorageFull
from .keys import Keys
from .scripts import translating

SUBMITS_LEAVE = 0.1
"""Of maxmemory, for what was let in: submit.lua."""


async def demand_room(redis: Redis, keys: Keys) -> None:
    """One round trip. Raises what a submit would meet: StorageFull (memory, disk), StoreLoading, or StoreUnavailable,
    caused by a ReadOnlyError when this is a replica.
    """
    with translating():
        async with redis.pipeline(transaction=False) as pipe:
            # Redis decides whether to take a write before it looks whether there is anything to do
            pipe.lpushx(keys.probe(), "")
            pipe.info("memory")
            pushed, memory = await pipe.execute(raise_on_error=False)
        if isinstance(pushed, Exception) and not isinstance(pushed, NoPermissionError):
            raise pushed
    if isinstance(memory, dict):  # its user may not ask
        most = int(memory.get("maxmemory", 0))
        if most and int(memory["used_memory"]) > (1 - SUBMITS_LEAVE) * most:
            raise StorageFull("nine tenths of Redis's memory are taken: the rest is for what was let in")
