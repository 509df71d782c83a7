"""The worker's one writer of outcomes and steps: what is waiting at the same moment goes to Redis in one script.

An outcome goes at once and takes its task's steps along. Steps alone linger a little, so that a run of moments costs
no round trip of its own and fifty runs share one.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from taskstore.claims import Settled, Settlement
from taskstore.error_codes import ErrorCode
from taskstore.errors import StoreUnavailable
from taskstore.steps import StepBatch
from taskstore.store import TaskStore

from . import observed
from .outage import Outage
from .outcome import INTERNAL
from .progress import AT_ONCE
from .role import Role
from .steps import STEPS_AFTER_S, StepLog

BATCH = 50
"""Most settlements in one script, so that none holds Redis for long."""
AGAIN_AFTER_S = (0.1, 0.25, 0.5, 1.0)
BATCH_BYTES = 4_194_304
"""Of progress in one script; the last task's may go beyond."""
STEPS_AGAIN_AFTER_S = 1.0
LEASE_LOST = "lease_lost"

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
        self._waiting: list[tuple[Settlement, StepLog, asyncio.Future[Settled]]] = []
        self._noted: dict[StepLog, None] = {}
        self._steps_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._some = asyncio.Event()

    async def settle(self, settlement: Settlement, steps: StepLog) -> Settled:
        """`ok`, or `lease_lost`: then another worker has the task and nothing was written."""
        answer: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()
        self._waiting.append((settlement, steps, answer))
        self._some.set()
        return await answer

    def noted(self, steps: StepLog, within_s: float) -> None:
        """Some steps wait, and are to be written within that time."""
        self._noted[steps] = None
        self._write_steps_in(within_s)

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
            # what succeeded or was cancelled is never run again
            progress = settlement.kind not in {"success", "cancelled"}
            noted = steps.take(progress=progress)
            settlements.append(settlement if noted is None else replace(settlement, steps=noted))
        words = await self._write(settlements)
        for (_, _, answer), word in zip(batch, words, strict=True):
            if not answer.done():
                answer.set_result(word)

    def _write_steps_in(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            if self._timer.when() <= loop.time() + seconds:
                return
            self._timer.cancel()
            self._timer = None
        if seconds <= 0:
            self._steps_are_due()
        else:
            self._timer = loop.call_later(seconds, self._steps_are_due)

    def _steps_are_due(self) -> None:
        self._timer = None
        self._steps_due = True
        self._some.set()

    async def _write_steps(self) -> None:
        """One try. What it cannot write stays for the next one, or goes with the outcome."""
        batches: list[tuple[StepLog, StepBatch]] = []
        size = 0
        looked_at = []
        while self._noted and len(batches) < BATCH and size < BATCH_BYTES:
            steps = next(iter(self._noted))
            del self._noted[steps]
            looked_at.append(steps)
            if (batch := steps.take()) is not None:
                batches.append((steps, batch))
                size += batch.progress.size if batch.progress else 0
        for steps in looked_at:
            steps.remind()
        if not batches:  # they went with their outcomes
            return
        full = len(batches) == BATCH or size >= BATCH_BYTES
        again_s = AT_ONCE if full else STEPS_AFTER_S
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
            if batch.progress is not None and batch.notes:  # no note is worth what was done
                await self._step([(steps, replace(batch, notes=()))])
            elif batch.progress is not None:
                steps.progress.refused("Redis refuses the write")
        else:
            observed.late_writes("step", words)
            for (steps, batch), word in zip(batches, words, strict=True):
                if word == "ok":
                    steps.written(batch)
                else:
                    steps.lost()

    async def _write(self, batch: list[Settlement]) -> list[Settled]:
        tries = 0
        while True:
            try:
                words = await self._store.settle(batch)
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
                    return [Settled.of(LEASE_LOST)]
                batch = [_unwritable(batch[0])]
            else:
                observed.late_writes("settle", words)
                return words


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
