"""The verdict: what went wrong, from what was seen from outside alone. Pure: its own tests show it each wrong.

A model call counts as finished once the call of the task's next step has begun: that one begins when the step's write
was acknowledged. A call whose step was struck before that may be made again, once for each strike; it is counted, not
blamed. The same goes for a process that was stopped just before it sent a call, and sends it when it goes on.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.journals import Call, Errand, Evidence, Strike, Told
from tests.chaos.schedule import Kind
from tests.chaos.system import Seen, System

PAST_DEADLINE_S: Final = 30.0
"""How long after its deadline a task may at most become final."""
LATE_CALL_S: Final = 2.0
"""Within which a process that goes on has sent what it was about to send, on a busy machine."""
BEFORE_S: Final = 1.0
"""How long before its fault's noted time a call may have been struck."""

WRONGS: Final = (
    "acknowledged tasks lost",
    "tasks without a final status",
    "tasks with two final events",
    "final records changed",
    "tasks past their deadline by 30 s",
    "good tasks failed by a fault",
    "non-idempotent tools run twice",
    "finished model calls repeated",
    "model calls repeated without a fault",
    "audit findings",
    "submits with one key that made two tasks",
    "good submits refused",
    "tasks cancelled that nobody cancelled",
    "poison tasks that were no dead letters",
    "late tasks that did not fail",
    "processes that died by themselves",
)
"""Every one of these must be 0."""

OF_STEPS: Final = (
    "non-idempotent tools run twice",
    "finished model calls repeated",
    "model calls repeated without a fault",
)
"""Those that need to know which step a call belongs to."""


@dataclass(slots=True)
class Verdict:
    wrongs: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in WRONGS})
    """By name, each with what shows it."""
    counted: dict[str, int] = field(default_factory=dict)
    """What happened and is right."""
    unchecked: tuple[str, ...] = ()
    """Wrongs that could not be looked for."""
    in_flight: int = 0
    enough: bool = True
    """Whether so much was in flight when faults struck that this was a run at all."""

    @property
    def passed(self) -> bool:
        return self.enough and not any(self.wrongs.values())


def judge(
    evidence: Evidence, system: System, *, max_crashes: int, lease_s: float, floor: int, knows_steps: bool = True
) -> Verdict:
    """`floor`: the least that must have been in flight, over all strikes, for the run to count. `knows_steps`: whether
    the agent's calls say which step they belong to, and its tools bear witness; if not, those are not judged.
    """
    return _Judge(evidence, system, max_crashes, lease_s).verdict(floor, knows_steps=knows_steps)


class _Judge:
    def __init__(self, evidence: Evidence, system: System, max_crashes: int, lease_s: float) -> None:
        self._seen, self._system = evidence, system
        self._max_crashes, self._lease_s = max_crashes, lease_s
        self._found = Verdict()
        self._count: Counter[str] = Counter()

    def verdict(self, floor: int, *, knows_steps: bool) -> Verdict:
        for told in self._seen.told.values():
            self._judge_task(told)
        self._count["model calls"] = len(self._seen.calls)
        self._count["model calls that name no task"] = self._seen.unmarked_calls
        if knows_steps:
            self._judge_tools()
            self._judge_calls()
        else:
            self._found.unchecked = OF_STEPS
        self._judge_final_events()
        for finding in self._seen.findings:
            self._wrong("audit findings", finding)
        self._judge_deaths()
        self._found.in_flight = sum(strike.in_model + strike.in_tool for strike in self._seen.strikes)
        self._found.enough = self._found.in_flight >= floor
        self._found.counted = dict(self._count)
        return self._found

    def _wrong(self, name: str, example: str) -> None:
        self._found.wrongs[name].append(example)

    # -- tasks

    def _judge_task(self, told: Told) -> None:
        name = f"{told.key} {told.ids[:1]}"
        if told.refused:
            self._wrong("good submits refused", f"{name}: {told.refused}")
        if not told.is_acknowledged:
            self._count["submits never acknowledged"] += not told.refused
            return
        self._count["acknowledged"] += 1
        if len(set(told.ids)) > 1:
            self._wrong("submits with one key that made two tasks", f"{told.key} {told.ids}")
        if told.missing or None in told.again:
            self._wrong("acknowledged tasks lost", f"{name}: {told.missing} times 404, again {told.again.count(None)}")
        if told.final is None:
            if not told.missing:
                self._wrong("tasks without a final status", name)
            return
        if any(body not in {None, told.final} for body in told.again):
            self._wrong("final records changed", f"{name}: {told.final!r} {told.again!r}")
        if told.deadline_s is not None:
            late_s = told.final_at - told.acknowledged_at - told.deadline_s
            if late_s > PAST_DEADLINE_S:
                self._wrong("tasks past their deadline by 30 s", f"{name}: {late_s:.0f} s")
        self._judge_end(told, name, self._system.read(told.final))

    def _judge_end(self, told: Told, name: str, seen: Seen) -> None:
        self._count[seen.status] += 1
        if told.errand is Errand.POISON:
            self._count["poison tasks"] += 1
            if (seen.status, seen.code) != ("failed", self._system.dead_letter):
                self._wrong("poison tasks that were no dead letters", f"{name}: {seen}")
        elif told.errand is Errand.LATE:
            self._count["late tasks"] += 1
            if seen.status != "failed":
                self._wrong("late tasks that did not fail", f"{name}: {seen}")
        elif seen.status == "cancelled":
            if told.errand is not Errand.CANCEL:
                self._wrong("tasks cancelled that nobody cancelled", name)
        elif seen.status == "failed":
            self._judge_failure(told, name, seen)

    def _judge_failure(self, told: Told, name: str, seen: Seen) -> None:
        if seen.code == self._system.unknown_outcome and self._could_be_unknown(told):
            self._count["unknown outcomes of a non-idempotent tool"] += 1
        elif seen.code == self._system.dead_letter and self._is_explained(told):
            self._count["explained dead letters"] += 1
        else:
            self._wrong("good tasks failed by a fault", f"{name}: {seen}")

    def _could_be_unknown(self, told: Told) -> bool:
        """Only if a fault struck while the tool had begun, or could have."""
        asked = [line.at for line in self._seen.lines if line.key == told.key and line.what == "ask"]
        return bool(asked) and self._struck(min(asked), told.final_at)

    def _is_explained(self, told: Told) -> bool:
        """As many workers were ended or stopped in its life as it may cost, and each that is known to have run it."""
        ran = {line.pid for line in self._seen.lines if line.key == told.key}
        ended = [death.pid for death in self._seen.deaths if told.acknowledged_at <= death.at <= told.final_at]
        stopped = [
            pid
            for strike in self._seen.strikes
            if strike.kind is Kind.STOP_WORKER and told.acknowledged_at <= strike.at <= told.final_at
            for pid in strike.pids
        ]
        return ran <= {*ended, *stopped} and len(ended) + len(stopped) >= self._max_crashes

    def _struck(self, since: float, until: float) -> bool:
        """Whether a worker or Redis was struck between the two, or so shortly before that it still worked."""
        deaths = [(death.at, death.at) for death in self._seen.deaths if _runs_tasks(death.name)]
        faults = [
            (strike.at, strike.until + self._lease_s)
            for strike in self._seen.strikes
            if any(_runs_tasks(victim) for victim in strike.victims)
        ]
        stalls = [(began, ended + self._lease_s) for began, ended in self._seen.stalls]
        return any(began - BEFORE_S <= until and ended >= since for began, ended in (*deaths, *faults, *stalls))

    # -- tools and calls

    def _judge_tools(self) -> None:
        begun = Counter(line.key for line in self._seen.lines if line.what == "begin")
        for key, times in begun.items():
            if times > 1:
                self._wrong("non-idempotent tools run twice", f"{key}: {times} times")
        self._count["tool calls"] = sum(begun.values())

    def _judge_calls(self) -> None:
        by_task: dict[str, list[Call]] = defaultdict(list)
        for call in self._seen.calls:
            by_task[call.key].append(call)
        for key, calls in by_task.items():
            self._judge_calls_of(key, calls)

    def _judge_calls_of(self, key: str, calls: list[Call]) -> None:
        last_of: dict[int, Call] = {}
        excused: set[int] = set()
        for call in calls:
            finished = any(step > call.step for step in last_of)
            earlier = last_of.get(call.step)
            if finished:
                strike = self._late_strike(call)
                if strike is None or strike.number in excused:
                    self._wrong("finished model calls repeated", f"{key} step {call.step} at {call.at:.3f}")
                else:
                    excused.add(strike.number)
                    self._count["in-flight model calls repeated"] += 1
            elif earlier is not None:
                if earlier.failed:
                    self._count["failed model calls made again"] += 1
                elif self._struck(earlier.at, call.at):
                    self._count["in-flight model calls repeated"] += 1
                else:
                    self._wrong("model calls repeated without a fault", f"{key} step {call.step} at {call.at:.3f}")
            last_of[call.step] = call

    def _late_strike(self, call: Call) -> Strike | None:
        """A stop that ended just before this call: its process had it in hand when it was stopped."""
        return next((one for one in self._stops() if one.until <= call.at <= one.until + LATE_CALL_S), None)

    def _stops(self) -> Iterator[Strike]:
        return (strike for strike in self._seen.strikes if strike.kind is Kind.STOP_WORKER)

    # -- the rest

    def _judge_final_events(self) -> None:
        if self._seen.final_events is None:
            return
        for task_id, times in self._seen.final_events.items():
            if times != 1:
                self._wrong("tasks with two final events", f"{task_id}: {times}")

    def _judge_deaths(self) -> None:
        poisoned = {line.pid for line in self._seen.lines if line.what == "poison"}
        for death in self._seen.deaths:
            self._count["processes that died"] += 1
            if not death.asked and death.pid not in poisoned:
                self._wrong("processes that died by themselves", f"{death.name} code {death.code} at {death.at:.3f}")


def _runs_tasks(process: str) -> bool:
    """Whether a fault of it can touch what runs; one of a gateway can't."""
    return process.startswith(("worker", "redis"))
