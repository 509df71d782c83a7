"""The worker's one writer of outcomes: what is waiting at the same moment goes to Redis in one script."""

import asyncio
import logging

from taskstore.claims import Settlement
from taskstore.error_codes import ErrorCode
from taskstore.errors import StoreUnavailable
from taskstore.store import TaskStore

from .outage import Outage
from .outcome import INTERNAL
from .role import Role

BATCH = 50
"""Most settlements in one script, so that none holds Redis for long."""
AGAIN_AFTER_S = (0.1, 0.25, 0.5, 1.0)

log = logging.getLogger(__name__)


class Writer(Role):
    """`settle` returns when the outcome is in Redis, or refused there; a Redis that is away is waited for.

    Waiting does no harm: the fence decides in the end whether the write still counts, and a repeat answers as the
    first did.
    """

    def __init__(self, store: TaskStore, outage: Outage) -> None:
        super().__init__()
        self._store = store
        self._outage = outage
        self._waiting: list[tuple[Settlement, asyncio.Future[str]]] = []
        self._some = asyncio.Event()

    async def settle(self, settlement: Settlement) -> str:
        """`ok`, or `lease_lost`: then another worker has the task and nothing was written."""
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((settlement, answer))
        self._some.set()
        return await answer

    async def _loop(self) -> None:
        while True:
            await self._some.wait()
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            if not self._waiting:
                self._some.clear()
            words = await self._write([settlement for settlement, _ in batch])
            for (_, answer), word in zip(batch, words, strict=True):
                if not answer.done():
                    answer.set_result(word)

    async def _write(self, batch: list[Settlement]) -> list[str]:
        tries = 0
        while True:
            try:
                return await self._store.settle(batch)
            except StoreUnavailable as error:
                wait_s = AGAIN_AFTER_S[min(tries, len(AGAIN_AFTER_S) - 1)]
                tries += 1
                self._outage.goes_on(error, "settling")
                await asyncio.sleep(wait_s)
            except Exception:
                log.exception("settle_failed", extra={"tasks": ",".join(one.task_id for one in batch)})
                if len(batch) > 1:  # one of them cannot be written; the others can
                    return [word for one in batch for word in await self._write([one])]
                if batch[0].error_code == ErrorCode.INTERNAL:
                    return ["lease_lost"]
                batch = [_unwritable(batch[0])]


def _unwritable(settlement: Settlement) -> Settlement:
    return Settlement(
        task_id=settlement.task_id,
        fence=settlement.fence,
        kind="fail",
        error_code=ErrorCode.INTERNAL,
        error=INTERNAL,
        usage=settlement.usage,
        cost_usd=settlement.cost_usd,
    )
