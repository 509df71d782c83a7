"""What the state machine's operator does: replays what failed, and purges dead letters."""

from collections.abc import Coroutine
from typing import Any

import redis.asyncio
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from taskstore.claims import Claim, Settlement
from taskstore.errors import NotDead, TaskNotFound, WrongStatus
from taskstore.records import NewTask
from taskstore.states import Status
from taskstore.store import TaskStore

from .ledger import Ledger

MODELS = ("M", "N")

some = st.integers(0, 10_000)  # an index into what there is then: what is drawn never depends on Redis's answers


class OperatorRules(RuleBasedStateMachine):
    store: TaskStore
    redis: redis.asyncio.Redis
    ledger: Ledger
    submits: list[NewTask]
    claims: list[tuple[str, Claim]]
    last_settled: Settlement | None
    verbs: set[str]

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        raise NotImplementedError

    def take_settlements(self, settlements: list[Settlement]) -> None:
        raise NotImplementedError

    def the_rules_hold(self) -> None:
        raise NotImplementedError

    @rule(which=some, model=st.sampled_from([None, *MODELS]), times=st.integers(1, 2))
    def replay(self, which: int, model: str | None, times: int) -> None:
        if self.submits:
            self.send_replay(self.submits[which % len(self.submits)].task_id, model, times, 0)

    def failed(self) -> list[str]:
        return [task_id for task_id, account in self.ledger.accounts.items() if account.status is Status.FAILED]

    @precondition(lambda self: bool(self.failed()))
    @rule(which=some, model=st.sampled_from([None, *MODELS]), times=st.integers(1, 2),
          deadline_ms=st.sampled_from([0, 0, 50_000]))  # fmt: skip
    def replay_what_failed(self, which: int, model: str | None, times: int, deadline_ms: int) -> None:
        """A rule of its own: few walks would come across what failed by chance."""
        failed = self.failed()
        self.send_replay(failed[which % len(failed)], model, times, deadline_ms)

    def send_replay(self, task_id: str, model: str | None, times: int, deadline_ms: int) -> None:
        account = self.ledger.accounts.get(task_id)
        self.verbs = {"replay"}
        refused_for: str | None = None
        try:
            answers = {self.run(self.store.replay(task_id, deadline_ms, model=model)) for _ in range(times)}
        except TaskNotFound:
            assert account is None
            return
        except WrongStatus as error:
            refused_for = error.status
        assert account is not None
        if refused_for is not None:
            assert refused_for == account.status != Status.FAILED
            assert account.lives == 1 or model not in {None, account.model}, "a repeat is no other request"
            return
        if account.status is Status.FAILED:
            assert answers == {Status.PENDING}
            self.ledger.replayed(task_id, model)
        else:
            assert answers == {account.status}, "sent again it says how the task stands"
            assert account.lives > 1
            assert model in {None, account.model}

    @rule(which=some, times=st.integers(1, 2))
    def purge(self, which: int, times: int) -> None:
        if self.submits:
            self.run(self.send_purge(self.submits[which % len(self.submits)].task_id, 0, times))

    def dead(self) -> list[str]:
        client: Any = self.redis
        letters: list[str] = self.run(client.zrange(self.store.keys.dead(), 0, -1))
        return letters

    def held(self) -> list[Claim]:
        return [one for _, one in self.claims if self.ledger.holds(one.task_id, one.fence)]

    @precondition(lambda self: bool(self.held() or self.dead()))
    @rule(which=some, times=st.integers(1, 2))
    def purge_what_is_dead(self, which: int, times: int) -> None:
        """A rule of its own, which buries one that runs if none is dead: no walk of sixty came across one by chance."""
        if not self.dead():
            held = self.held()
            one = held[which % len(held)]
            self.last_settled = Settlement(task_id=one.task_id, fence=one.fence, kind="bury", error="why")
            self.verbs = {"bury"}
            self.take_settlements([self.last_settled])
            self.the_rules_hold()
        letters = self.dead()
        for off in (-1, 1, 0):  # seen in another life of the task, and then as it is
            self.run(self.send_purge(letters[which % len(letters)], off, times))

    async def send_purge(self, task_id: str, off: int, times: int) -> None:
        client, keys = self.redis, self.store.keys
        account = self.ledger.accounts.get(task_id)
        is_dead = await client.zscore(keys.dead(), task_id) is not None
        fence = (account.fence if account else 1) + off
        refused_for: str | None = None
        try:
            for _ in range(times):
                await self.store.purge(task_id, fence)
        except NotDead as error:
            refused_for = error.status
        if account is None:
            assert refused_for is None, "it is as good as purged"
            return
        if refused_for is not None:
            assert refused_for == account.status
            assert not is_dead or off, "a dead letter as it was seen is taken"
            return
        assert is_dead
        assert not off, "another fence is another life of the task"
        caller = account.new.caller
        left = await client.exists(keys.task(task_id), keys.events(task_id), keys.steps(task_id))
        assert left == 0
        for index, member in (
            (keys.dead(), task_id), (keys.gone(), f"{task_id} {caller}"), (keys.caller(caller), task_id),
        ):  # fmt: skip
            assert await client.zscore(index, member) is None
        if account.new.idempotency_key is not None:
            held: Any = await client.get(keys.idempotency(caller, account.new.idempotency_key))
            assert not (held or "").startswith(f"{task_id} ")
