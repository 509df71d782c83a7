"""What must be true of every task whatever is sent: a second, plain-Python account of what the verbs did.

The store's own audit looks at one moment. The ledger remembers: that final records stay as they are, that fences only
grow, that a task ends once, that budgets and spending add up, that a session runs one task at a time.
"""

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from taskstore.claims import Claim, Settlement
from taskstore.records import NewTask
from taskstore.states import FINAL, TRANSITIONS, Status

Fields = Mapping[str, str]

RESCUE = "rescue"
SETTLE_VERBS = {"success": "succeed", "cancelled": "stop"}
"""A settlement's kind, where it is not the verb's own name."""
LANES = {"i": "interactive", "b": "batch"}
RESCUES = "agent_rescues_total"


@dataclass
class Account:
    """One task: what was done to it since it was submitted."""

    new: NewTask
    record: Fields
    events: int = 0
    claims: int = 0
    returned: int = 0
    """Attempts that were given back: released, or lost by a worker that lives."""
    crashes: int = 0
    retries: int = 0
    ends: int = 0
    lives: int = 1
    """One more at each replay: as often may it end."""
    settled: set[int] = field(default_factory=set)
    tokens: int = 0
    cost_nusd: int = 0
    memory: "Memory | None" = None
    """What its session remembered when it was submitted: where its turn goes, if anybody remembers that by then."""
    model: str = ""
    """The one it was submitted for, or that of its last replay that named one."""

    @property
    def status(self) -> Status:
        return Status(self.record["status"])

    @property
    def fence(self) -> int:
        return int(self.record["fence"])


@dataclass
class Memory:
    """A session since it began, or began again after it was deleted."""

    said: list[tuple[str, str, str]] = field(default_factory=list)
    """Task, message and answer of each turn."""

    @property
    def turns(self) -> int:
        return len(self.said)


class Ledger:
    def __init__(self, *, max_retries: int, max_crashes: int, max_turns: int) -> None:
        self.max_turns = max_turns
        self.max_retries = max_retries
        self.max_crashes = max_crashes
        self.accounts: dict[str, Account] = {}
        self.day_totals: Counter[str] = Counter()
        self.counts: Counter[tuple[str, ...]] = Counter()
        """What operators count, by metric and label values."""
        self.rescued = 0
        """In all: of one that ended by it, its record does not say why it was rescued."""
        self.memories: dict[tuple[str, str | None], Memory] = {}
        """By caller and session_id, of sessions that somebody could see."""

    def submitted(self, new: NewTask, record: Fields) -> None:
        assert record["status"] == "pending"
        memory = self.memories.setdefault(_session(new), Memory()) if new.session else None
        self.accounts[new.task_id] = Account(new, record, memory=memory, model=new.model)
        self.counts["agent_tasks_submitted_total", new.caller, new.agent, new.model, LANES[new.kind]] += 1

    def claimed(self, claim: Claim) -> None:
        account = self.accounts[claim.task_id]
        assert claim.fence == account.fence + 1, "each claim raises the fence by one"
        assert (claim.message, claim.model) == (account.new.message, account.model)
        account.claims += 1
        self.counts["agent_attempts_total", claim.agent, account.model] += 1
        turns = [(turn.message, turn.answer) for turn in claim.history]
        memory = self.memories.get(_session(account.new)) if account.new.session else None
        assert turns == [(message, answer) for _, message, answer in (memory.said if memory else [])[-self.max_turns :]]

    def holds(self, task_id: str, fence: int) -> bool:
        account = self.accounts.get(task_id)
        return account is not None and account.status is Status.RUNNING and account.fence == fence

    def settled(self, one: Settlement, word: str) -> None:
        """Called before `look`, with what the store answered."""
        account = self.accounts.get(one.task_id)
        if not self.holds(one.task_id, one.fence):
            repeat = account is not None and max(account.settled, default=-1) == one.fence
            assert word == ("ok" if repeat else "lease_lost")
            return
        assert word == "ok"
        assert account is not None
        assert one.fence not in account.settled, "no claim is settled twice"
        account.settled.add(one.fence)
        stopped = account.record.get("cancel_at") and one.kind in {"retry", "release", "suspend"}
        if one.kind == "release" and not stopped:
            account.returned += 1
            self.counts["agent_releases_total", "released"] += 1
        if one.usage is not None:
            account.tokens += one.usage.total_tokens
            who = (account.new.caller, account.new.agent, account.model)
            self.counts["agent_tokens_total", *who, "prompt"] += one.usage.prompt_tokens
            self.counts["agent_cost_usd_total", *who] += round((one.cost_usd or 0) * 1e9)
            self.counts["agent_unpriced_answers_total", account.model] += one.cost_usd is None
            account.cost_nusd += round((one.cost_usd or 0) * 1e9)
            self.day_totals["total_tokens"] += one.usage.total_tokens
            self.day_totals["cost_nusd"] += round((one.cost_usd or 0) * 1e9)
            self.day_totals["attempts"] += 1
        if one.kind == "success" and account.memory is not None:
            account.memory.said.append((one.task_id, account.new.message, one.result or ""))

    def replayed(self, task_id: str, model: str | None) -> None:
        account = self.accounts[task_id]
        account.model = model or account.model
        account.lives += 1
        self.counts["agent_replays_total", account.new.agent, account.model] += 1
        account.retries = account.crashes = 0

    def look(self, found: Mapping[str, tuple[Fields, int]], dead: Container[str], verbs: Iterable[str]) -> None:
        """Compares what is stored now with what it was; `verbs` are those that may have moved a task since, `dead` the
        dead letters.
        """
        allowed = [TRANSITIONS[verb] for verb in verbs]
        for task_id, account in list(self.accounts.items()):
            record, events = found[task_id]
            if not record:
                assert account.status.is_final, "only what has ended is forgotten"
                del self.accounts[task_id]
                continue
            before, account.record = account.record, record
            self._check_move(task_id, account, before, record, allowed)
            self._count_end(account, before, record, dead=task_id in dead)
            if RESCUE in verbs:
                self._check_rescue(account, before, record)
            if Status(before["status"]) in FINAL and record["status"] == before["status"]:
                assert record == before, "a final record never changes"
                assert events == account.events, "nothing happens to a task that has ended"
            assert record["model"] == account.model, "only a replay changes the model"
            account.events = events
            self._check_budgets(account, before, record)
        self._check_sessions()

    def _check_move(self, task_id: str, account: Account, before: Fields, after: Fields, allowed: Any) -> None:
        was, now = Status(before["status"]), Status(after["status"])
        if was is not now:
            assert any(was in sources and now in targets for sources, targets in allowed), f"{task_id}: {was} to {now}"
        assert int(before["fence"]) <= int(after["fence"]) == account.claims, "a fence is a claim, and each claim one"
        if now in FINAL and was not in FINAL:
            account.ends += 1
            assert account.ends <= account.lives, "a task ends once a life"

    def _count_end(self, account: Account, before: Fields, after: Fields, *, dead: bool) -> None:
        if Status(before["status"]) not in FINAL and Status(after["status"]) in FINAL:
            what, code = (account.new.agent, account.model), after.get("error_code", "")
            self.counts["agent_tasks_finished_total", account.new.caller, *what, after["status"], code] += 1
            self.counts["agent_dead_letters_total", *what, code] += dead

    def _check_rescue(self, account: Account, before: Fields, after: Fields) -> None:
        """A lost lease costs a crash or gives the attempt back, or the task has ended for another reason."""
        if before["status"] != Status.RUNNING or after["status"] == Status.RUNNING:
            return
        given_back = int(before["attempt"]) - int(after["attempt"])
        crashed = int(after["crashes"]) - int(before["crashes"])
        assert (given_back, crashed) in {(0, 1), (1, 0)} or (given_back, crashed, after["status"] in FINAL) == (0, 0, 1)
        account.returned += given_back
        self.counts[RESCUES, "lost_claim"] += given_back
        self.counts[RESCUES, "worker_lost"] += crashed
        # one that is long past its deadline is ended, whoever holds it
        self.rescued += given_back + crashed or after["status"] == Status.CANCELLED

    def _check_budgets(self, account: Account, before: Fields, after: Fields) -> None:
        retried = max(0, int(after["retries"]) - int(before["retries"]))
        account.retries += retried
        self.counts["agent_retries_total", account.new.agent, account.model, after.get("error_code", "")] += retried
        account.crashes += max(0, int(after["crashes"]) - int(before["crashes"]))
        assert int(after["attempt"]) == account.claims - account.returned, "attempts are claims less those given back"
        assert int(after["retries"]) == account.retries <= self.max_retries
        assert int(after["crashes"]) == account.crashes <= self.max_crashes
        assert int(after.get("cost_nusd", 0)) == account.cost_nusd, "what was spent stays on the record"

    def _check_sessions(self) -> None:
        running = Counter(
            (account.new.caller, account.new.session)
            for account in self.accounts.values()
            if account.new.session and account.status is Status.RUNNING
        )
        assert not running or max(running.values()) == 1, "a session runs one task at a time"


def _session(new: NewTask) -> tuple[str, str | None]:
    return new.caller, new.session_id
