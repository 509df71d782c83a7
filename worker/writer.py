"""The worker's one writer of outcomes and steps: what is waiting at the same moment goes to Redis in one script.

An outcome goes at once and takes its task's steps along. Steps alone linger a little, so that a run of moments costs
no round trip of its own and fifty runs share one.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from taskstore.claims import Settlement
from taskstore.error_codes import ErrorCode
from taskstore.errors import StoreUnavailable
from taskstore.steps import StepBatch
from taskstore.store import TaskStore

from .outage import Outage
from .outcome import INTERNAL
from .role import Role
from .steps import StepLog

BATCH = 50
"""Most settlements in one script, so that none holds Redis for long."""
AGAIN_AFTER_S = (0.1, 0.25, 0.5, 1.0)
STEPS_AFTER_S = 0.1
"""How long steps wait for company."""
STEPS_AGAIN_AFTER_S = 1.0

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
        self._waiting: list[tuple[Settlement, StepLog, asyncio.Future[str]]] = []
        self._noted: dict[StepLog, None] = {}
        self._steps_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._some = asyncio.Event()

    async def settle(self, settlement: Settlement, steps: StepLog) -> str:
        """`ok`, or `lease_lost`: then another worker has the task and nothing was written."""
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((settlement, steps, answer))
        self._some.set()
        return await answer

    def noted(self, steps: StepLog) -> None:
        """Some steps wait. Nobody waits for their writing."""
        self._noted[steps] = None
        self._write_steps_in(STEPS_AFTER_S)

    async def _loop(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            if self._waiting:
                await self._settle_some()
            if self._steps_due:
                self._steps_due = False
                await self._write_steps()

    async def _settle_some(self) -> None:
        batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        if self._waiting:
            self._some.set()
        settlements = []
        for settlement, steps, _ in batch:
            self._noted.pop(steps, None)
            settlements.append(replace(settlement, steps=steps.take()))
        words = await self._write(settlements)
        for (_, _, answer), word in zip(batch, words, strict=True):
            if not answer.done():
                answer.set_result(word)

    def _write_steps_in(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._steps_are_due)

    def _steps_are_due(self) -> None:
        self._timer = None
        self._steps_due = True
        self._some.set()

    async def _write_steps(self) -> None:
        """One try. What it cannot write stays for the next one, or goes with the outcome."""
        logs = list(self._noted)[:BATCH]
        for steps in logs:
            del self._noted[steps]
        batches = [(steps, batch) for steps in logs if (batch := steps.take()) is not None]
        if not batches:  # they went with their outcomes
            return
        again_s = STEPS_AFTER_S
        try:
            await self._step(batches)
        except StoreUnavailable as error:
            self._outage.goes_on(error, "noting steps")
            again_s = STEPS_AGAIN_AFTER_S
            for steps, batch in batches:
                steps.put_back(batch)
                self._noted[steps] = None
        if self._noted:
            self._write_steps_in(again_s)

    async def _step(self, batches: Sequence[tuple[StepLog, StepBatch]]) -> None:
        try:
            words = await self._store.step([(steps.task_id, steps.fence, batch) for steps, batch in batches])
        except StoreUnavailable:
            raise
        except Exception:
            if len(batches) > 1:  # one of them cannot be written; the others can
                for one in batches:
                    await self._step([one])
                return
            steps, batch = batches[0]
            log.exception("steps_dropped", extra={"task": steps.task_id})
            steps.drop(batch)
        else:
            for (steps, _), word in zip(batches, words, strict=True):
                if word != "ok":
                    steps.close()

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
                if any(one.steps for one in batch):  # no step is worth an outcome
                    batch = [replace(one, steps=None) for one in batch]
                    continue
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
