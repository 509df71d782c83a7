"""Random verbs by several workers and callers, some sent twice, some with an old fence: the rules hold after each.

What each walk did is in its seed; a failure shows again with the same one.
"""

import random
from dataclasses import replace
from typing import Any

import pytest

from core_config import Settings
from taskstore.claims import Claim, Settlement
from taskstore.errors import NeverDue, QueueFull, TaskNotFound, WrongStatus
from taskstore.records import Kind, NewTask, TaskRecord, WorkerInfo
from taskstore.states import FINAL, Status
from taskstore.store import TaskStore

from .conftest import AuditedScripts
from .state import Contents

KINDS: list[Any] = ["success", "fail", "cancelled", "retry", "bury", "release", "suspend"]


class Walk:
    """A few workers and callers who do random things, and what is known of each task."""

    def __init__(self, store: TaskStore, reader: TaskStore, contents: Contents, seed: int) -> None:
        self.store = store
        self.reader = reader
        self.contents = contents
        self.random = random.Random(seed)
        self.claims: list[tuple[str, Claim]] = []
        self.records: dict[str, TaskRecord] = {}
        self.replayed: set[str] = set()
        self.submitted = 0
        self.numbers = {"w1": 0, "w2": 0, "w3": 0}

    async def submit(self) -> None:
        self.submitted += 1
        task = NewTask(
            task_id=f"t{self.submitted}", caller=self.random.choice("ab"), message="x",
            model=self.random.choice("MN"), kind=self.random.choice(list(Kind)), priority=self.random.randint(1, 9),
            session_id=self.random.choice([None, "s", "r"]), user_id=self.random.choice([None, "u"]),
            deadline_ms=self.random.choice([0, 0, 1, 60_000]),
            run_at_ms=self.random.choice([0, 0, 0, await self.contents.clock() + self.random.randint(1, 5_000)]),
            idempotency_key=self.random.choice([None, "k1", "k2"]),
        )  # fmt: skip
        try:
            submitted = await self.store.submit(task)
        except (QueueFull, NeverDue):
            return
        assert (await self.store.submit(task)).task_id == submitted.task_id
        self.records.setdefault(submitted.task_id, await self.reader.get(submitted.task_id))

    async def claim(self) -> None:
        worker = self.random.choice(list(self.numbers))
        self.numbers[worker] += 1
        ask: dict[str, Any] = {
            "room": self.random.randint(0, 3), "extra": self.random.randint(0, 1),
            "models": {"M": self.random.choice([1, 2, None]), "N": None},
        }  # fmt: skip
        first = await self.store.claim(worker, self.numbers[worker], **ask)
        again = await self.store.claim(worker, self.numbers[worker], **ask)
        assert [(one.task_id, one.fence) for one in again.tasks] == [(one.task_id, one.fence) for one in first.tasks]
        self.claims += [(worker, task) for task in first.tasks]

    async def settle(self) -> None:
        """Of any claim ever made: most have lost their lease, some are settled again."""
        if self.claims:
            _, task = self.random.choice(self.claims[-6:])
            before = await self.known(task.task_id)
            one = Settlement(task_id=task.task_id, fence=task.fence, kind=self.random.choice(KINDS), result="r",
                             delay_ms=self.random.choice([0, 2_000]))  # fmt: skip
            (word,) = await self.store.settle([one])
            holds = before is not None and before.status is Status.RUNNING and before.fence == task.fence
            if holds:
                assert word == "ok"
                assert await self.store.settle([one]) == ["ok"]
            else:
                assert await self.known(task.task_id) == before

    async def known(self, task_id: str) -> TaskRecord | None:
        """None once the task is forgotten."""
        try:
            return await self.reader.get(task_id)
        except TaskNotFound:
            return None

    async def renew(self) -> None:
        worker = self.random.choice(list(self.numbers))
        held = {task.task_id: task.fence for name, task in self.claims[-8:] if name == worker}
        await self.store.renew(WorkerInfo(worker, "h", 1, "1", 3, 0), held.items())

    async def sweep(self) -> None:
        await self.store.sweep(self.random.choice(["", "", "w1", "w2"]))

    async def time_passes(self) -> None:
        """Some leases end, some scheduled tasks fall due, some final ones are to be forgotten."""
        client, prefix = self.contents.client, self.contents.prefix
        now = await self.contents.clock()
        for key in await client.keys(prefix + "leases:*") + [prefix + "scheduled", prefix + "gone"]:
            for member in await client.zrange(key, 0, -1):
                if self.random.random() < 0.2:
                    await client.zadd(key, {member: now - 1}, xx=True)

    async def request(self) -> None:
        if self.records:
            task_id = self.random.choice(list(self.records))
            verb = self.random.choice(["cancel", "decide", "replay", "purge"])
            try:
                if verb == "decide":
                    await self.store.decide(task_id, "{}")
                elif verb == "purge":
                    await self.store.purge(task_id, self.records[task_id].fence)
                else:
                    await getattr(self.store, verb)(task_id)
            except (TaskNotFound, WrongStatus):
                return
            if verb == "replay":
                self.replayed.add(task_id)

    async def look(self) -> None:
        """What each task has become since the last look."""
        for task_id, before in list(self.records.items()):
            after = await self.known(task_id)
            if after is None:
                assert before.status in FINAL
                del self.records[task_id]
                continue
            assert after.fence >= before.fence
            assert 0 <= after.attempt <= after.fence
            if before.status in FINAL and task_id not in self.replayed:
                # here time passes by making what is to be forgotten older
                assert replace(after, dead_until=before.dead_until) == before
            if after.status is Status.RUNNING and before.status is not Status.RUNNING:
                assert after.fence > before.fence
            self.records[task_id] = after
        self.replayed.clear()


@pytest.mark.parametrize("seed", range(8))
async def test_the_rules_hold_whatever_is_sent(seed: int, contents: Contents, settings: Settings) -> None:
    settings = settings.model_copy(update={"max_retries": 2, "max_crashes": 3, "queue_max_depth": 40})
    store = TaskStore(contents.client, settings)
    store._scripts = AuditedScripts(contents.client, settings)
    walk = Walk(store, TaskStore(contents.client, settings), contents, seed)
    steps = [walk.submit, walk.claim, walk.settle, walk.settle, walk.renew, walk.sweep, walk.time_passes, walk.request]
    for _ in range(100):
        await walk.random.choice(steps)()
        await walk.look()
