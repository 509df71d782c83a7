"""The checker itself: each wrong, put once into journals that are right, is found, under its name and no other."""

import json
from collections.abc import Callable

import pytest

from tests.chaos.journals import Call, Death, Errand, Evidence, Strike, Told
from tests.chaos.longhaul import Longhaul
from tests.chaos.schedule import Kind
from tests.chaos.verdict import WRONGS, Verdict, judge
from tests.chaos.witness import Line

CRASHES, LEASE_S, FLOOR = 3, 3.0, 10


def record(status: str = "success", code: str | None = None, result: str = "done") -> bytes:
    return json.dumps({"status": status, "error_code": code, "result": result}).encode()


def task(key: str, errand: Errand = Errand.PLAIN, final: bytes | None = None, **more: object) -> Told:
    told = Told(key, errand, ids=[f"id-{key}"], acknowledged_at=100.0)
    told.final, told.final_at = final or record(), 110.0
    told.again = [told.final]
    for name, value in more.items():
        setattr(told, name, value)
    return told


def calls(key: str, *steps: int, at: float = 101.0, **more: str) -> list[Call]:
    return [Call(key, step, at + number, more.get("outcome", "answered")) for number, step in enumerate(steps)]


def right() -> Evidence:
    """A run with one task of each kind, whose model calls, tools and ends are as they should be."""
    dead, late = record("failed", "worker_lost"), record("failed", "deadline_exceeded")
    told = [
        task("a"),
        task("twice", Errand.TWICE, ids=["id-twice", "id-twice"]),
        task("cancel", Errand.CANCEL, record("cancelled", "cancelled"), cancel_at=105.0),
        task("late", Errand.LATE, late, deadline_s=8.0),
        task("poison", Errand.POISON, dead),
    ]
    return Evidence(
        told={one.key: one for one in told},
        calls=calls("a", 1, 2, 3) + calls("twice", 1, 2, 3),
        lines=[Line("begin", "a", 7, 102.0), Line("done", "a", 7, 102.3), Line("poison", "poison", 9, 104.0)],
        strikes=[Strike(1, Kind.KILL_WORKER, 1000.0, 1000.0, ["worker-1-1"], [7], 9, 2)],
        deaths=[Death("worker-1-1", 7, 1000.1, -9, asked=True), Death("worker-2-1", 9, 104.1, -9, asked=False)],
        audits=10,
        final_events={f"id-{one.key}": 1 for one in told},
    )


def verdict_of(evidence: Evidence, floor: int = FLOOR) -> Verdict:
    return judge(evidence, Longhaul(), max_crashes=CRASHES, lease_s=LEASE_S, floor=floor)


def found(verdict: Verdict) -> list[str]:
    return [name for name, examples in verdict.wrongs.items() if examples]


def test_what_is_right_passes() -> None:
    verdict = verdict_of(right())
    assert (verdict.passed, found(verdict), verdict.in_flight) == (True, [], 11)


def lose(run: Evidence) -> None:
    run.told["a"].again = [None]


def lose_meanwhile(run: Evidence) -> None:
    run.told["a"].missing = 1


def leave_open(run: Evidence) -> None:
    run.told["a"].final, run.told["a"].again = None, []


def end_twice(run: Evidence) -> None:
    assert run.final_events is not None
    run.final_events["id-a"] = 2


def never_tell_the_end(run: Evidence) -> None:
    assert run.final_events is not None
    run.final_events["id-a"] = 0


def change(run: Evidence) -> None:
    run.told["a"].again = [record(result="another")]


def overdue(run: Evidence) -> None:
    run.told["late"].final_at = 100.0 + 8.0 + 30.5


def fail(run: Evidence) -> None:
    run.told["a"] = task("a", final=record("failed", "provider_unavailable"))


def bury_without_deaths(run: Evidence) -> None:
    run.told["a"] = task("a", final=record("failed", "worker_lost"))


def bury_one_whose_worker_lived(run: Evidence) -> None:
    bury_without_deaths(run)
    run.deaths += [Death(f"worker-1-{pid}", pid, 105.0, -9, asked=True) for pid in (21, 22, 23)]


def lose_an_outcome_without_a_fault(run: Evidence) -> None:
    run.deaths.clear()
    run.lines += [Line("ask", "a", 7, 101.0), Line("poison", "poison", 9, 104.0)]
    run.told["a"] = task("a", final=record("failed", "tool_outcome_unknown"))


def act_twice(run: Evidence) -> None:
    run.lines.append(Line("begin", "a", 8, 103.0))


def pay_twice(run: Evidence) -> None:
    run.calls += calls("a", 1, at=105.0)


def pay_twice_after_a_kill(run: Evidence) -> None:
    run.calls += calls("a", 2, at=105.0)
    run.strikes.append(Strike(2, Kind.KILL_WORKER, 104.5, 104.5, ["worker-1-2"], [17], 6, 1))


def pay_twice_long_after_a_stop(run: Evidence) -> None:
    run.calls += calls("a", 2, at=109.0)
    run.strikes.append(Strike(2, Kind.STOP_WORKER, 100.0, 104.5, ["worker-1-2"], [17], 6, 1))


def pay_twice_for_one_stop(run: Evidence) -> None:
    run.calls += calls("a", 2, 2, at=104.6)
    run.strikes.append(Strike(2, Kind.STOP_WORKER, 100.0, 104.5, ["worker-1-2"], [17], 6, 1))


def call_again_for_nothing(run: Evidence) -> None:
    run.deaths.clear()
    run.lines.clear()
    run.calls += calls("twice", 3, at=104.0)


def call_again_when_a_gateway_died(run: Evidence) -> None:
    call_again_for_nothing(run)
    run.strikes.append(Strike(2, Kind.KILL_GATEWAY, 103.5, 103.5, ["gateway-1-1"], [5], 6, 1))
    run.deaths.append(Death("gateway-1-1", 5, 103.5, -9, asked=True))


def stand_in_two_indices(run: Evidence) -> None:
    run.findings.append("running task id-a stands in ready")


def make_two(run: Evidence) -> None:
    run.told["twice"].ids = ["id-twice", "id-other"]


def refuse(run: Evidence) -> None:
    run.told["b"] = Told("b", Errand.PLAIN, refused="422 no")


def cancel_by_nobody(run: Evidence) -> None:
    run.told["a"] = task("a", final=record("cancelled", "cancelled"))


def let_poison_succeed(run: Evidence) -> None:
    run.told["poison"] = task("poison", Errand.POISON)


def name_poison_otherwise(run: Evidence) -> None:
    run.told["poison"] = task("poison", Errand.POISON, record("failed", "internal"))


def let_the_late_succeed(run: Evidence) -> None:
    run.told["late"] = task("late", Errand.LATE, deadline_s=8.0)


def die_by_itself(run: Evidence) -> None:
    run.deaths.append(Death("worker-3-1", 30, 105.0, 1, asked=False))


WRONG_WAYS: list[tuple[str, Callable[[Evidence], None]]] = [
    ("acknowledged tasks lost", lose),
    ("acknowledged tasks lost", lose_meanwhile),
    ("tasks without a final status", leave_open),
    ("tasks with two final events", end_twice),
    ("tasks with two final events", never_tell_the_end),
    ("final records changed", change),
    ("tasks past their deadline by 30 s", overdue),
    ("good tasks failed by a fault", fail),
    ("good tasks failed by a fault", bury_without_deaths),
    ("good tasks failed by a fault", bury_one_whose_worker_lived),
    ("good tasks failed by a fault", lose_an_outcome_without_a_fault),
    ("non-idempotent tools run twice", act_twice),
    ("finished model calls repeated", pay_twice),
    ("finished model calls repeated", pay_twice_after_a_kill),
    ("finished model calls repeated", pay_twice_long_after_a_stop),
    ("finished model calls repeated", pay_twice_for_one_stop),
    ("model calls repeated without a fault", call_again_for_nothing),
    ("model calls repeated without a fault", call_again_when_a_gateway_died),
    ("audit findings", stand_in_two_indices),
    ("submits with one key that made two tasks", make_two),
    ("good submits refused", refuse),
    ("tasks cancelled that nobody cancelled", cancel_by_nobody),
    ("poison tasks that were no dead letters", let_poison_succeed),
    ("poison tasks that were no dead letters", name_poison_otherwise),
    ("late tasks that did not fail", let_the_late_succeed),
    ("processes that died by themselves", die_by_itself),
]


@pytest.mark.parametrize(("name", "go_wrong"), WRONG_WAYS, ids=[way.__name__ for _, way in WRONG_WAYS])
def test_each_wrong_is_found(name: str, go_wrong: Callable[[Evidence], None]) -> None:
    run = right()
    go_wrong(run)
    verdict = verdict_of(run)
    assert found(verdict) == [name]
    assert not verdict.passed


def test_every_wrong_that_is_told_is_tried_here() -> None:
    assert {name for name, _ in WRONG_WAYS} == set(WRONGS)


def test_too_little_in_flight_is_no_run() -> None:
    verdict = verdict_of(right(), floor=12)
    assert (verdict.passed, found(verdict)) == (False, [])


def test_a_call_that_was_struck_is_counted_and_not_blamed() -> None:
    run = right()
    run.calls += calls("a", 3, at=108.0)
    run.strikes.append(Strike(2, Kind.KILL_WORKER, 104.5, 104.5, ["worker-1-2"], [17], 6, 1))
    verdict = verdict_of(run)
    assert (found(verdict), verdict.counted["in-flight model calls repeated"]) == ([], 1)


def test_a_call_that_a_stopped_process_had_in_hand_is_counted_once() -> None:
    run = right()
    run.calls += calls("a", 2, at=104.6)
    run.strikes.append(Strike(2, Kind.STOP_WORKER, 100.0, 104.5, ["worker-1-2"], [17], 6, 1))
    verdict = verdict_of(run)
    assert (found(verdict), verdict.counted["in-flight model calls repeated"]) == ([], 1)


def test_a_call_that_the_provider_failed_is_made_again() -> None:
    run = right()
    run.calls = [Call("a", 1, 101.0, "failed"), Call("a", 1, 102.0, "disconnected", "hang"), *calls("a", 1, at=103.0)]
    verdict = verdict_of(run)
    assert (found(verdict), verdict.counted["failed model calls made again"]) == ([], 2)


def test_a_dead_letter_whose_workers_the_kit_ended_is_explained() -> None:
    run = right()
    bury_without_deaths(run)
    run.lines.append(Line("ask", "a", 21, 105.0))
    run.deaths = [Death(f"worker-1-{pid}", pid, 105.0, -9, asked=True) for pid in (7, 9, 21)]
    verdict = verdict_of(run)
    assert (found(verdict), verdict.counted["explained dead letters"]) == ([], 1)


def test_an_unknown_outcome_is_counted_apart_when_a_fault_struck() -> None:
    run = right()
    run.lines.append(Line("ask", "a", 7, 101.0))
    run.strikes.append(Strike(2, Kind.KILL_WORKER, 103.0, 103.0, ["worker-1-2"], [17], 6, 1))
    run.told["a"] = task("a", final=record("failed", "tool_outcome_unknown"))
    verdict = verdict_of(run)
    assert (found(verdict), verdict.counted["unknown outcomes of a non-idempotent tool"]) == ([], 1)


def test_a_stall_of_the_machine_excuses_as_a_fault_does() -> None:
    run = right()
    call_again_for_nothing(run)
    assert found(verdict_of(run)) == ["model calls repeated without a fault"]
    run.stalls = [(102.5, 103.9)]
    assert found(verdict_of(run)) == []
