"""The engine: arq's process frame (start, hooks, signals, drain, close) around a taking and finishing of our own.

arq polls every half second, leases without a heartbeat, finishes unfenced and pickles results. Here one script claims,
a bell wakes, a thread renews and one fenced script settles. No `arq:*` key is read or written, so a pickle planted in
one is never loaded. docs/architecture.md has the picture.
"""

import asyncio
import contextlib
import gc
import json
import logging
import math
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from arq.connections import ArqRedis
from arq.worker import Worker, func
from redis.exceptions import RedisError

from core_config import Settings
from monitoring import redis_calls
from monitoring.logs import Redactor, secrets_of
from monitoring.process_metrics import ProcessMetrics
from taskstore.claims import Claim, Claimed, ModelRules, Settled, Settlement
from taskstore.connection import connect, connection_pool
from taskstore.errors import StoreUnavailable
from taskstore.records import Kind, WorkerInfo
from taskstore.store import TaskStore

from . import attempt_log, observed
from .announcement import Prepare, announce
from .attempt import Attempt, Stop, attempt_name
from .attendant import Attendant
from .bell import Bell
from .cancels import Cancels
from .executor import Executor
from .keeper import Keeper
from .outage import Outage
from .reaper import Reaper
from .redis_at_start import until_usable
from .role import OwnThread, Role
from .steps import StepLog
from .tokens import Tokens
from .writer import Writer

LOOK_EVERY_S = 1.0
"""An idle worker also claims without a bell, should a token be lost."""
AGAIN_AFTER_S = 0.5
"""After a claim that Redis did not answer."""
RELEASE_S = 2.0
"""After the drain: how long what is left may take to be released."""

log = logging.getLogger(__name__)


class Engine(Worker):
    """One worker process. Build it where its event loop is the current one, then `run()`."""

    def __init__(
        self,
        settings: Settings,
        executor: Executor,
        worker: WorkerInfo,
        models: Mapping[str, int | None],
        *,
        rules: Mapping[str, ModelRules] | None = None,
        redact: Redactor | None = None,
        prepare: Prepare | None = None,
        quarantine: Sequence[str] = (),
        **hooks: Any,
    ) -> None:
        """`models`: registry key -> most that may run at once over all workers; `rules`: what else decides whether
        tasks of a model are started. `redact` takes secrets out of the texts of steps and tokens; unset, those of the
        settings. `prepare` makes the agents ready before anything is claimed; unset, the worker says nothing of agents.
        `quarantine` is the command that starts a worker for quarantined tasks; unset, they are left to others. `hooks`
        are arq's `on_*`.
        """
        super().__init__(
            functions=[func(_never, name="attempt")],
            redis_pool=ArqRedis(connection_pool(settings.redis_address)),
            max_jobs=settings.worker_concurrency,
            poll_delay=0,
            job_completion_wait=max(1, math.ceil(settings.drain_seconds)),
            job_serializer=lambda job: json.dumps(job).encode(),
            job_deserializer=json.loads,
            **hooks,
        )
        self._settings = settings
        self._executor = executor
        self._models = models
        self._rules = rules or {}
        self._uncooled = frozenset(name for name, rule in self._rules.items() if not rule.cooldown)
        self._redact = redact or Redactor(secrets_of(settings))
        self._prepare = prepare
        self._worker = worker
        self._redis = connect(settings.redis_address)
        self._listening = connect(settings.redis_address, blocking=True)
        self.store = TaskStore(self._redis, settings, redis_calls.observe)
        # By `Attempt.name`, as arq's `tasks` too: a worker can be given a task again while its last attempt still ends.
        self.attempts: dict[str, Attempt] = {}
        self._passing_on: set[asyncio.Task[None]] = set()
        self._slots = settings.worker_concurrency + math.ceil(settings.worker_concurrency / 10)
        self._claim_number = 1
        self._claiming: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._look_again_s = 0.0
        self._hurry = asyncio.Event()
        self._slots_changed = False
        self._outage = Outage()
        self._keeper = Keeper(settings, worker, self._on_stop, self._outage)
        self._writer = Writer(self.store, self._outage)
        self._process = ProcessMetrics("quarantine" if worker.quarantine else "worker")
        self._attendant = Attendant(quarantine, worker.id, self.store, settings.drain_seconds, self._outage)
        keys = self.store.keys
        self._bells = {kind: Bell(self._listening, keys, kind, self._on_ring, self._outage) for kind in Kind}
        self._roles: tuple[Role | OwnThread, ...] = (
            *self._bells.values(),
            Cancels(self._listening, keys, self._on_cancel, self._outage),
            Reaper(settings, self._outage),
        )

    # -- the process

    async def main(self) -> None:
        await self._process.start()
        await until_usable(self._redis, self._outage)
        await self._make_ready()
        # what is loaded by now stays: a collection need not walk a million objects that cannot be garbage
        gc.collect()
        gc.freeze()
        await self._keeper.start()
        self._tell_slots()
        for role in (self._writer, *self._roles):
            await role.start()
        while True:
            try:
                await super().main()
            except (RedisError, OSError) as error:  # only its first look at Redis can raise these
                self._outage.goes_on(error, "starting")
                await asyncio.sleep(AGAIN_AFTER_S)

    async def _make_ready(self) -> None:
        if self._prepare is not None:
            await announce(self.store, self._worker.id, self._prepare, self._redact, self._outage)

    async def close(self) -> None:
        """Stops the roles in order: nothing is claimed, then nothing runs, then nothing renews."""
        for role in self._roles:
            await role.stop()
        for attempt in self.attempts.values():
            attempt.stop(Stop.DRAIN)
        await self._tasks_end(RELEASE_S)
        await self._attendant.stop()
        await self._writer.stop()
        await self._keeper.stop()
        await self._process.stop()
        if self.on_shutdown:
            with _survived("on_shutdown"):
                await self.on_shutdown(self.ctx)
        for client in (self._redis, self._listening, self.pool):
            with contextlib.suppress(RedisError, OSError):
                await client.aclose(close_connection_pool=True)

    # -- taking

    async def _poll_iteration(self) -> None:
        """Waits for a reason to look, then claims. arq calls it in a loop without a pause (`poll_delay` 0)."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._look_again_s):
                await self._wake.wait()
        self._wake.clear()
        self._look_again_s = LOOK_EVERY_S
        if self.allow_pick_jobs and len(self.tasks) < self._slots:
            # a claim in flight at SIGTERM is awaited: its tasks would else be leased to nobody
            self._claiming = asyncio.create_task(self._claim(), name="claim")
            await asyncio.shield(self._claiming)

    async def _claim(self) -> None:
        room, extra = self._room()
        try:
            claimed = await self._ask(room, extra)
        except StoreUnavailable as error:  # asked again with the same number: nothing is taken twice
            self._outage.goes_on(error, "claiming")
            self._look_again_s = AGAIN_AFTER_S
            return
        except Exception:
            log.exception("claim_failed")
            self._look_again_s = AGAIN_AFTER_S
            return
        self._outage.has_room()
        self._claim_number += 1
        for claim in claimed.tasks:
            self._begin(claim)
        if claimed.attend:
            self._attendant.attend()
        self._listen_or_look_again(claimed)

    async def _ask(self, room: int, extra: int) -> Claimed:
        return await self.store.claim(
            self._worker.id, self._claim_number, room=room, extra=extra, models=self._models, rules=self._rules,
            quarantine="offer" if self._attendant.is_free else "leave",
        )  # fmt: skip

    def _room(self) -> tuple[int, int]:
        """How many batch tasks may start, and how many interactive ones beyond those."""
        room = max(0, self.max_jobs - len(self.tasks))
        return room, self._slots - len(self.tasks) - room

    def _listen_or_look_again(self, claimed: Claimed) -> None:
        room, extra = self._room()
        if claimed.more and room:
            self._wake.set()
        if claimed.next_due_ms is not None:
            self._look_again_s = min(LOOK_EVERY_S, claimed.next_due_ms / 1000)
        if self.allow_pick_jobs:
            if room:
                self._bells[Kind.BATCH].listen()
            if room or extra:
                self._bells[Kind.INTERACTIVE].listen()

    def _begin(self, claim: Claim) -> None:
        read = partial(self.store.progress, claim.task_id) if claim.kept else None
        tokens = Tokens(self._redact) if claim.stream else None
        steps = StepLog(claim, self._redact, self._writer.noted, read, uncooled=self._uncooled, tokens=tokens)
        attempt = Attempt(claim, self._settings.attempt_timeout_seconds, steps)
        steps.on_lost = partial(attempt.stop, Stop.LOST)
        self._keeper.hold(claim.task_id, claim.fence)
        observed.claimed(claim, in_quarantine=self._worker.quarantine)
        self.attempts[attempt.name] = attempt
        if not self.allow_pick_jobs:
            attempt.stop(Stop.DRAIN)
        task = self.loop.create_task(self.run_job(attempt.name, 0), name=f"attempt:{attempt.name}")
        self.tasks[attempt.name] = task
        task.add_done_callback(lambda _: self._end(attempt))
        self._tell_slots()

    def _end(self, attempt: Attempt) -> None:
        """A freed slot is a reason to look only for a worker that had no room: the others hear the bell."""
        had_no_room = len(self.tasks) in {self.max_jobs, self._slots}
        self.tasks.pop(attempt.name, None)
        self.attempts.pop(attempt.name, None)
        self._keeper.drop(attempt.claim.task_id, attempt.claim.fence)
        self._tell_slots()
        if had_no_room:
            self._wake.set()

    def _tell_slots(self) -> None:
        """Soon, and once for all that begin and end in one turn of the loop."""
        if not self._slots_changed:
            self._slots_changed = True
            self.loop.call_soon(self._tell_slots_now)

    def _tell_slots_now(self) -> None:
        self._slots_changed = False
        if not self._worker.quarantine:  # its slot is open to nobody else
            used = len(self.tasks)
            observed.slots(used, max(0, self.max_jobs - used) if self.allow_pick_jobs else 0)

    # -- one attempt

    async def run_job(self, job_id: str, score: int) -> None:  # noqa: ARG002  arq's signature
        """Runs the attempt of that name and settles it. Raises nothing: what happens here never ends the worker."""
        attempt = self.attempts[job_id]
        claim, began = attempt.claim, time.monotonic()
        attempt_log.begins(claim)
        if self.on_job_start:
            await self._call(self.on_job_start, claim)
        settlement, word = None, None
        try:
            settlement = await self._executor.run(attempt)
            word = None if settlement is None else await self._writer.settle(settlement, attempt.steps)
        except Exception:
            # its lease runs out, and the task is rescued
            log.exception("attempt_broke", extra={"task": claim.task_id, "attempt": claim.attempt})
            return
        finally:
            attempt.trace.end(settlement, None if word is None else word.status)
        self._count(claim, settlement, word, time.monotonic() - began)
        for hook in (self.on_job_end, self.after_job_end):
            if hook:
                await self._call(hook, claim)

    def _count(self, claim: Claim, settlement: Settlement | None, word: Settled | None, seconds: float) -> None:
        if settlement is None or word is None or word.status is None:
            observed.lost(claim, seconds, gave_up=settlement is None)
            log.warning("attempt_refused", extra={"cause": "lease_lost"})
            return
        observed.ended(claim, settlement.kind, word, seconds)
        match settlement.kind:
            case "success":
                self.jobs_complete += 1
            case "retry" | "release" | "suspend":
                self.jobs_retried += 1
            case _:
                self.jobs_failed += 1
        attempt_log.ends(claim, settlement, word.status, seconds, content=self._settings.log_content)

    async def _call(self, hook: Callable[[dict[Any, Any]], Awaitable[None]], claim: Claim) -> None:
        with _survived(getattr(hook, "__name__", "hook")):
            await hook({**self.ctx, "job_id": claim.task_id, "job_try": claim.attempt})

    # -- what wakes and stops

    def _on_ring(self, kind: Kind) -> None:
        room, extra = self._room()
        if self.allow_pick_jobs and (room or (extra and kind is Kind.INTERACTIVE)):
            self._wake.set()
        else:  # it came while the last slot was taken: somebody else's
            passing = self.loop.create_task(self._pass_on(kind))
            self._passing_on.add(passing)
            passing.add_done_callback(self._passing_on.discard)

    async def _pass_on(self, kind: Kind) -> None:
        with contextlib.suppress(StoreUnavailable):  # every idle worker also looks by itself
            await self.store.ring(kind)

    def _on_cancel(self, task_id: str) -> None:
        for attempt in self.attempts.values():
            if attempt.claim.task_id == task_id:
                attempt.stop(Stop.CANCEL)

    def _on_stop(self, task_id: str, fence: int, why: Stop) -> None:
        if attempt := self.attempts.get(attempt_name(task_id, fence)):
            attempt.stop(why)

    # -- the end

    def handle_sig_wait_for_completion(self, signum: signal.Signals) -> None:
        """The first signal drains; a second one releases at once what still runs."""
        self._attendant.drain()
        if self.allow_pick_jobs:
            super().handle_sig_wait_for_completion(signum)
            self._tell_slots()
        else:
            self._hurry.set()

    async def _wait_for_tasks_to_complete(self, signum: signal.Signals) -> None:  # noqa: ARG002  arq's signature
        hurry = asyncio.create_task(self._hurry.wait())
        drained = asyncio.create_task(self._drained())
        await asyncio.wait({drained, hurry}, timeout=self._settings.drain_seconds, return_when=asyncio.FIRST_COMPLETED)
        for waiter in (hurry, drained):
            waiter.cancel()
        if self._claiming is not None and not self._claiming.done():
            await asyncio.wait({self._claiming}, timeout=RELEASE_S)
        left = list(self.attempts.values())
        for attempt in left:
            attempt.stop(Stop.DRAIN)
        await self._tasks_end(RELEASE_S)
        log.info("drained", extra={"complete": self.jobs_complete, "released": len(left)})
        if self.main_task:
            self.main_task.cancel()

    async def _drained(self) -> None:
        while waiting := [task for task in (*self.tasks.values(), self._claiming) if task and not task.done()]:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)

    async def _tasks_end(self, timeout_s: float) -> None:
        if self.tasks:
            await asyncio.wait(self.tasks.values(), timeout=timeout_s)

    async def heart_beat(self) -> None:
        """arq's health key and cron are not used: the keeper's renewals say who is alive."""


async def _never(ctx: dict[Any, Any]) -> None:
    """arq wants a function registered; the engine never calls it."""


@contextlib.contextmanager
def _survived(name: str) -> Any:
    try:
        yield
    except Exception:
        log.exception("hook_failed", extra={"hook": name})
