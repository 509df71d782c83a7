"""Hypothesis drives the store: random verbs by several workers and callers, repeated, late and with wrong fences, while
time jumps. After every step the store's audit is empty and the ledger agrees.

The same walks each time by default; `LONGHAUL_EDGE_WALKS=20000` takes as many others.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any

import hypothesis
import pytest
import redis.asyncio
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from core_config import Settings
from taskstore.claims import Claim, ModelRules, QuarantinePart, Settlement
from taskstore.connection import connect
from taskstore.errors import IdempotencyConflict, NeverDue, QueueFull, SessionBusy, TaskNotFound, WrongStatus
from taskstore.measures import Gauges
from taskstore.records import Kind, NewTask, TokenUsage, WorkerInfo
from taskstore.states import FINAL
from taskstore.store import ANY_CALLER, TaskStore
from tests.conftest import RedisServer

from .ledger import RESCUE, RESCUES, SETTLE_VERBS, Account, Ledger
from .operator_rules import MODELS, OperatorRules, some
from .session_rules import CALLERS, SESSIONS, SessionRules
from .time_travel import make_older

ASKED = os.environ.get("LONGHAUL_EDGE_WALKS")
WALKS = int(ASKED or 60)
STEPS = 50
DATABASE = 7
"""Of the tests' Redis: the audit reads every key of its database."""
WORKERS = ("w1", "w2", "w3")
RULES = [
    {}, {}, {"M": ModelRules(fallbacks=("N",))},
    {"M": ModelRules(rpm=20, fallbacks=("N",)), "N": ModelRules(rpm=60, cooldown=False)},
]  # fmt: skip
FAULTS = [None, None, None, "provider_rate_limited", "provider_unavailable", "provider_no_balance"]
QUARANTINE: list[QuarantinePart] = ["leave", "offer", "only"]
SETTLE_KINDS: list[Any] = ["success", "success", "fail", "cancelled", "retry", "retry", "bury", "release", "suspend"]
MOVED_BY_TIME = {"expire", RESCUE}


class StoreMachine(OperatorRules, SessionRules):
    url: str

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.settings = Settings(
            redis_url=self.url, key_prefix="m:", max_retries=2, max_crashes=2, queue_max_depth=12, session_max_turns=3
        )
        self.redis: redis.asyncio.Redis = connect(self.settings.redis_address)
        self.store = TaskStore(self.redis, self.settings)
        self.ledger = Ledger(max_retries=2, max_crashes=2, max_turns=3)
        self.claims: list[tuple[str, Claim]] = []
        self.last_settled: Settlement | None = None
        self.numbers = dict.fromkeys(WORKERS, 0)
        self.submits: list[NewTask] = []
        self.idempotent: dict[tuple[str, str], tuple[str, str]] = {}
        self.verbs: set[str] = set()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run(coroutine)

    @initialize()
    def empty(self) -> None:
        client: Any = self.redis
        self.run(client.flushdb())

    def teardown(self) -> None:
        self.run(self.redis.aclose())
        self.loop.close()

    # -- the gateway's

    @rule(
        caller=st.sampled_from(CALLERS), model=st.sampled_from(MODELS), kind=st.sampled_from(Kind),
        priority=st.integers(1, 9), session_id=st.sampled_from(SESSIONS),
        later_ms=st.sampled_from([0, 0, 0, 700, 40_000]), deadline_ms=st.sampled_from([0, 0, 0, 900, 50_000]),
        key=st.sampled_from([None, None, "k1", "k2"]), body=st.sampled_from("xy"),
        agent=st.sampled_from(["default", "default", "other"]),
        on_busy=st.sampled_from(["enqueue", "enqueue", "reject", "interrupt"]),
    )  # fmt: skip
    def submit(
        self, caller: str, model: str, kind: Kind, priority: int, session_id: str | None,
        later_ms: int, deadline_ms: int, key: str | None, body: str, agent: str, on_busy: Any,
    ) -> None:  # fmt: skip
        task_id = f"t{len(self.submits) + 1}"
        run_at = self.run(self.clock()) + later_ms if later_ms else 0
        new = NewTask(
            task_id=task_id, caller=caller, message=f"message of {task_id}", model=model, kind=kind, priority=priority,
            session_id=session_id, run_at_ms=run_at, deadline_ms=deadline_ms, idempotency_key=key, body_sha256=body,
            metadata={"n": len(self.submits)}, agent=agent, on_busy=on_busy,
        )  # fmt: skip
        self.submits.append(new)
        self.send(new)

    @rule(which=some)
    def submit_again(self, which: int) -> None:
        """A lost reply is asked for again, with the same id: within seconds, so never of a task that is forgotten."""
        if self.submits:
            new = self.submits[-1 - which % min(5, len(self.submits))]
            if new.task_id in self.ledger.accounts:
                self.send(new)

    def send(self, new: NewTask) -> None:
        # the tests of submit are elsewhere; here only what it means for the others
        known = self.idempotent.get((new.caller, new.idempotency_key or ""))
        if known is not None and known[0] not in self.ledger.accounts:
            known = None  # it was forgotten, and its key with it
        same = new.task_id in self.ledger.accounts
        holder = self.run(self.holder_of(new))
        fresh = not same and known is None
        self.verbs = {"cancel"} if fresh and holder is not None and new.on_busy == "interrupt" else set()
        try:
            submitted = self.run(self.store.submit(new))
        except QueueFull:
            live = [account for account in self.ledger.accounts.values() if account.status not in FINAL]
            assert len(live) >= self.settings.queue_max_depth
            assert not same
            assert known is None
            return
        except SessionBusy as refusal:
            named = refusal.task_id
            assert fresh
            assert (new.on_busy, named) == ("reject", holder)
            return
        except IdempotencyConflict:
            assert not same
            assert known is not None
            assert known[1] != new.body_sha256
            return
        except NeverDue:
            assert new.run_at_ms - new.deadline_ms > self.run(self.clock()) - 10_000 > 0
            assert new.deadline_ms
            assert not same
            assert known is None
            return
        if same:
            assert (submitted.task_id, submitted.created) == (new.task_id, False)
        elif known is not None:
            assert (submitted.task_id, submitted.created) == (known[0], False)
            assert known[1] == new.body_sha256
        else:
            assert (submitted.task_id, submitted.created) == (new.task_id, True)
            assert holder is None or new.on_busy != "reject" or new.run_at_ms
            self.ledger.submitted(new, self.run(self.record(new.task_id)))
            if new.idempotency_key is not None:
                self.idempotent[new.caller, new.idempotency_key] = (new.task_id, new.body_sha256)

    async def holder_of(self, new: NewTask) -> str | None:
        """The live task that a task which is due would meet in its session."""
        if not new.session or new.run_at_ms > await self.clock():
            return None
        client: Any = self.redis
        holder: str | None = await client.hget(self.store.keys.session(new.caller, new.session), "holder")
        return holder

    @rule(verb=st.sampled_from(["cancel", "decide"]), which=some, caller=st.sampled_from([*CALLERS, "*"]))
    def request(self, verb: str, which: int, caller: str) -> None:
        if not self.submits:
            return
        task_id = self.submits[which % len(self.submits)].task_id
        account = self.ledger.accounts.get(task_id)
        allowed = account is not None and caller in {ANY_CALLER, account.new.caller}
        self.verbs = {verb}
        refused_for: str | None = None
        try:
            if verb == "cancel":
                self.run(self.store.cancel(task_id, caller))
            else:
                self.run(self.store.decide(task_id, "{}", caller))
        except TaskNotFound:
            assert not allowed
            return
        except WrongStatus as error:
            refused_for = error.status
        assert allowed
        assert account is not None
        assert refused_for in {None, account.status}

    # -- the workers'

    @rule(
        worker=st.sampled_from(WORKERS), room=st.integers(0, 3), extra=st.integers(0, 1),
        most=st.sampled_from([None, 1, 2]), only=st.sampled_from([None, None, "M"]), again=st.booleans(),
        rules=st.sampled_from(RULES), quarantine=st.sampled_from(QUARANTINE),
    )  # fmt: skip
    def claim(
        self, worker: str, room: int, extra: int, most: int | None, only: str | None, again: bool,
        rules: dict[str, ModelRules], quarantine: QuarantinePart,
    ) -> None:  # fmt: skip
        self.numbers[worker] += 1
        self.verbs = {"claim", "expire", "cancel"}
        models = {name: most if name == "M" else None for name in MODELS if only in {None, name}}

        def ask() -> Any:
            return self.run(
                self.claim_of(worker, room=room, extra=extra, models=models, rules=rules, quarantine=quarantine)
            )

        claimed = ask()
        assert len(claimed.tasks) <= room + extra
        assert len({one.task_id for one in claimed.tasks}) == len(claimed.tasks)
        for one in claimed.tasks:
            assert one.model in models
            assert (one.crashes > 0) == (quarantine == "only"), "two crashes end a task, so the second run is alone"
            self.ledger.claimed(one)
            self.claims.append((worker, one))
        if again:
            assert [(one.task_id, one.fence) for one in ask().tasks] == [
                (one.task_id, one.fence) for one in claimed.tasks
            ]

    @rule(which=some, kind=st.sampled_from(SETTLE_KINDS), tokens=st.sampled_from([None, 0, 7]),
          delay_ms=st.sampled_from([0, 500, 30_000]), off=st.sampled_from([0, 0, 0, 0, -1, 1]),
          wait_ms=st.sampled_from([0, 600]), fault=st.sampled_from(FAULTS))  # fmt: skip
    def settle(
        self, which: int, kind: Any, tokens: int | None, delay_ms: int, off: int, wait_ms: int, fault: str | None
    ) -> None:
        """Of any recent claim: many have lost their lease, some are settled, some fences are wrong."""
        if not self.claims:
            return
        _, one = self.claims[-1 - which % min(8, len(self.claims))]
        settlement = Settlement(
            task_id=one.task_id, fence=max(0, one.fence + off), kind=kind, result=f"answer of {one.task_id}",
            error="why" if kind in {"fail", "retry", "bury"} else None, delay_ms=delay_ms, decide_within_ms=wait_ms,
            usage=None if tokens is None else TokenUsage(tokens, 0, tokens, 0, 0), cost_usd=0.001 if tokens else None,
            fault=fault if kind in {"fail", "retry"} else None,
        )  # fmt: skip
        self.verbs = {SETTLE_VERBS.get(kind, kind), "stop"}
        self.last_settled = settlement
        self.take_settlements([settlement])

    @rule()
    def settle_again(self) -> None:
        """The reply was lost: the same settlement, in a batch with itself."""
        if self.last_settled is not None:
            self.verbs = {SETTLE_VERBS.get(self.last_settled.kind, self.last_settled.kind), "stop"}
            held = self.ledger.holds(self.last_settled.task_id, self.last_settled.fence)
            self.take_settlements([self.last_settled] * (1 if held else 2))

    def take_settlements(self, settlements: list[Settlement]) -> None:
        for one, word in zip(settlements, self.run(self.store.settle(settlements)), strict=True):
            self.ledger.settled(one, word)

    @rule(worker=st.sampled_from(WORKERS))
    def renew(self, worker: str) -> None:
        held = {one.task_id: one.fence for name, one in self.claims[-10:] if name == worker}
        words = self.run(self.store.renew(WorkerInfo(worker, "h", 1, "1", 3, 0), held.items()))
        for task_id, fence in held.items():
            asked_to_stop = self.ledger.holds(task_id, fence) and self.ledger.accounts[task_id].record.get("cancel_at")
            expected = "cancel" if asked_to_stop else "ok" if self.ledger.holds(task_id, fence) else "lost"
            assert words[task_id] == expected

    async def claim_of(self, worker: str, **ask: Any) -> Any:
        """What it takes may be started: neither its model nor its agent is paused."""
        claimed = await self.store.claim(worker, self.numbers[worker], **ask)
        client: Any = self.redis
        paused = await client.hgetall(self.store.keys.paused())
        for one in claimed.tasks:
            assert not {f"model {one.model}", f"agent {one.agent}"} & paused.keys()
        return claimed

    @rule(what=st.sampled_from([("model", "M"), ("agent", "other")]), resumes=st.booleans())
    def pause(self, what: tuple[Any, str], resumes: bool) -> None:
        self.run((self.store.resume if resumes else self.store.pause)(*what))

    # -- time

    @rule(dead=st.sampled_from(["", "", "", *WORKERS]), times=st.integers(1, 2))
    def sweep(self, dead: str, times: int) -> None:
        self.verbs = MOVED_BY_TIME
        for _ in range(times):
            self.run(self.store.sweep(dead))

    @rule(ms=st.sampled_from([200, 1_000, 6_000, 45_000, 3_600_000, 4_000_000]), swept=st.booleans(),
          alive=st.sets(st.sampled_from(WORKERS)))  # fmt: skip
    def time_passes(self, ms: int, swept: bool, alive: set[str]) -> None:
        self.run(make_older(self.redis, self.store.keys, ms, alive=alive, swept=swept))
        for account in self.ledger.accounts.values():  # what was made older is how they are now
            record = self.run(self.record(account.new.task_id))
            assert record or account.status in FINAL
            if record and account.status not in FINAL:
                account.record = record

    # -- what holds after each step

    @invariant()
    def the_rules_hold(self) -> None:
        verbs, self.verbs = self.verbs, set()
        assert self.run(self.store.audit()) == []
        found, dead = self.run(self.everything())
        self.ledger.look(found, dead, verbs)
        self.the_counts_are_right()

    @invariant()
    def the_bill_is_right(self) -> None:
        rows = self.run(self.store.usage(by="caller", since_days=2))
        assert sum(row.total_tokens for row in rows) == self.ledger.day_totals["total_tokens"]
        spent = sum(round((row.cost_usd or 0) * 1e9) for row in rows)
        assert spent == self.ledger.day_totals["cost_nusd"]

    def the_counts_are_right(self) -> None:
        measured = self.run(self.store.measures())
        counts = Counter(measured.counts)
        rescues = Counter({key: counts.pop(key) for key in list(counts) if key[0] == RESCUES})
        wanted = +self.ledger.counts  # without zeros
        assert counts == Counter({key: count for key, count in wanted.items() if key[0] != RESCUES})
        assert all(rescues[key] >= count for key, count in wanted.items() if key[0] == RESCUES)
        assert rescues.total() == self.ledger.rescued

        def total(metric: str) -> int:
            return sum(count for (name, *_), count in counts.items() if name == metric)

        live = [one for one in self.ledger.accounts.values() if one.status not in FINAL]
        begun = total("agent_tasks_submitted_total") + total("agent_replays_total")
        assert begun - total("agent_tasks_finished_total") == len(live), "nothing is lost, and nothing ends twice"
        self.the_gauges_are_right(measured.gauges, live)

    def the_gauges_are_right(self, gauges: Gauges, live: Sequence[Account]) -> None:
        stands = Counter(one.record["at"].split(":")[0] for one in live)
        lanes = gauges.lanes.values()
        assert sum(lane.ready for lane in lanes) == stands["ready"]
        assert sum(lane.running for lane in lanes) == stands["leases"]
        assert (gauges.scheduled, gauges.waiting) == (stands["scheduled"], stands["waiting"])
        behind = Counter(one.new.caller for one in live if one.record["at"].startswith("blocked:"))
        assert +Counter(gauges.behind) == behind
        remembered = self.ledger.memories.keys()
        active = {(one.new.caller, one.new.session_id) for one in live if one.new.session} & remembered
        assert (gauges.sessions_active, gauges.sessions_idle) == (len(active), len(remembered - active))

    async def clock(self) -> int:
        seconds, micros = await self.redis.time()
        return int(seconds) * 1000 + int(micros) // 1000

    async def record(self, task_id: str) -> dict[str, str]:
        client: Any = self.redis
        record: dict[str, str] = await client.hgetall(self.store.keys.task(task_id))
        return record

    async def everything(self) -> tuple[dict[str, tuple[dict[str, str], int]], set[str]]:
        """Every known task's record and how many events it has, and which are dead letters."""
        ids = list(self.ledger.accounts)
        async with self.redis.pipeline(transaction=False) as pipe:
            for task_id in ids:
                pipe.hgetall(self.store.keys.task(task_id))
                pipe.xlen(self.store.keys.events(task_id))
            pipe.zrange(self.store.keys.dead(), 0, -1)
            *flat, dead = await pipe.execute()
        return dict(zip(ids, zip(flat[::2], flat[1::2], strict=True), strict=True)), set(dead)


@pytest.fixture
def machine(redis_server: RedisServer) -> type[StoreMachine]:
    url = f"{redis_server.url.rsplit('/', 1)[0]}/{DATABASE}"
    return type("TheStore", (StoreMachine,), {"url": url})


@pytest.mark.usefixtures("same_each_time")
def test_whatever_is_sent_the_rules_hold(machine: type[StoreMachine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=hypothesis.settings(
            max_examples=WALKS,
            stateful_step_count=STEPS,
            derandomize=ASKED is None,
            database=None,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.generate],  # a walk is short enough to read; shrinking takes minutes
        ),
    )
