"""A quarantine worker: runs quarantined tasks one after another, alone in its process, and leaves when there are none.

Ordinary workers start it (attendant.py). It is an ordinary engine with one slot: its tasks have their models' gates,
their leases and their steps as everywhere. But it takes from the quarantine lane only, and says nothing of the agents:
the word of the workers that stay is the one that counts.
"""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from core_config import Settings
from taskstore.claims import Claimed
from taskstore.records import WorkerInfo

from .bell import Bell
from .engine import Engine
from .executor import Executor

LEAVES_AFTER_S = 10.0
"""Without a task."""
LOOK_AT_PARENT_S = 0.5
GRACE_S = 5.0
"""Beyond the drain, when nobody is left who would end a process that does not."""
KILLED_FIRST = "500"
"""Half of the machine's memory, as the kernel weighs who has to go when there is none left."""

log = logging.getLogger(__name__)


class Parent(NamedTuple):
    """The worker that started it."""

    worker_id: str
    pid: int


class QuarantineEngine(Engine):
    """Engine of a quarantine worker; its `worker` says that it is one, and has one slot."""

    def __init__(
        self,
        parent: Parent,
        settings: Settings,
        executor: Executor,
        worker: WorkerInfo,
        models: Mapping[str, int | None],
        **options: Any,
    ) -> None:
        """`options` are the Engine's."""
        one_slot = settings.model_copy(update={"worker_concurrency": 1})
        super().__init__(one_slot, executor, worker, models, **options)
        self._parent = parent
        self._slots = 1  # none extra for interactive tasks
        self._idle_since = time.monotonic()
        # a bell's token would be missed by those who can do what it calls for
        self._roles = tuple(role for role in self._roles if not isinstance(role, Bell))

    async def main(self) -> None:
        threading.Thread(target=self._watch_parent, name="parent", daemon=True).start()
        await super().main()

    async def _make_ready(self) -> None:
        if self._prepare is not None:
            await self._prepare()
        self._idle_since = time.monotonic()

    async def _ask(self, room: int, extra: int) -> Claimed:
        return await self.store.claim(
            self._worker.id, self._claim_number, room=room, extra=extra, models=self._models, rules=self._rules,
            quarantine="only", attendant=self._parent.worker_id,
        )  # fmt: skip

    async def _poll_iteration(self) -> None:
        await super()._poll_iteration()
        if self.tasks:
            self._idle_since = time.monotonic()
        elif time.monotonic() - self._idle_since >= LEAVES_AFTER_S:
            self._leave("idle")

    def _leave(self, cause: str) -> None:
        if self.allow_pick_jobs:
            log.info("quarantine_leaves", extra={"cause": cause})
            self.handle_sig_wait_for_completion(signal.SIGTERM)

    def _watch_parent(self) -> None:
        """A thread, because the task may hold the loop. It asks for the parent's id, as a pipe from there would be held
        open by whatever the parent's tools forked.
        """
        while os.getppid() == self._parent.pid:
            time.sleep(LOOK_AT_PARENT_S)
        with contextlib.suppress(RuntimeError):  # the loop is closed: it is leaving
            self.loop.call_soon_threadsafe(self._leave, "parent_gone")
        time.sleep(self._settings.drain_seconds + GRACE_S)
        os._exit(1)


def be_killed_first() -> None:
    """When memory runs out, this process goes before its neighbours, for it runs what took some down. Linux only, and
    only where it is allowed.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(KILLED_FIRST)
