"""What the store measured, as series: names, labels, zeros."""

from typing import Any

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from monitoring.metrics import STORED
from monitoring.stored_page import StoredPage
from monitoring.stored_samples import away, samples
from taskstore.measures import Gauges, Lane, Measures, RedisState

IDLE: dict[str, Any] = {
    "lanes": {}, "scheduled": 0, "waiting": 0, "dead": 0, "sessions_active": 0, "sessions_idle": 0, "behind": {},
    "workers": 0, "quarantine_workers": 0, "slots": 0, "paused": (), "cooling": (),
}  # fmt: skip
REDIS = RedisState(1_000, 0, persistence_ok=True)
COUNTS = {
    ("agent_tasks_submitted_total", "alice", "default", "M", "batch"): 5,
    ("agent_tasks_finished_total", "alice", "default", "M", "failed", "internal"): 2,
    ("agent_cost_usd_total", "alice", "default", "N"): 1_500_000,
    ("agent_retries_total", "default", "M", "provider_timeout"): 3,
}


def measured(counts: Any = COUNTS, redis: RedisState | None = REDIS, **gauges: Any) -> Measures:
    return Measures(counts, Gauges(**IDLE | gauges), redis)


def series(measures: Measures) -> dict[str, dict[tuple[str, ...], float]]:
    found = samples(measures, models=("M",), agents=("default",))
    return {name: dict(values) for name, values in found.items()}


def test_every_stored_metric_is_told_with_its_own_labels() -> None:
    found = series(measured())
    assert found.keys() == {stored.name for stored in STORED}
    for stored in STORED:
        assert {len(labels) for labels in found[stored.name]} <= {len(stored.labels)}, stored.name


def test_counts_are_shown_as_they_are_and_money_in_usd() -> None:
    found = series(measured())
    assert found["agent_tasks_submitted_total"] == {("alice", "default", "M", "batch"): 5}
    assert found["agent_cost_usd_total"] == {("alice", "default", "N"): 0.0015, ("alice", "default", "M"): 0}


def test_what_is_to_be_expected_begins_at_zero() -> None:
    found = series(measured())
    assert found["agent_tasks_finished_total"] == {
        ("alice", "default", "M", "failed", "internal"): 2,
        ("alice", "default", "M", "success", ""): 0,
    }
    assert found["agent_dead_letters_total"] == {
        ("default", "M", code): 0 for code in ("provider_timeout", "worker_lost", "tool_outcome_unknown")
    }
    assert found["agent_rescues_total"] == {("worker_lost",): 0, ("lost_claim",): 0}
    counts = {**COUNTS, ("agent_dead_letters_total", "default", "M", "worker_lost"): 4}
    assert series(measured(counts))["agent_dead_letters_total"]["default", "M", "worker_lost"] == 4


def test_what_another_version_counts_is_left_out() -> None:
    later = {("agent_new_total", "x"): 1, ("agent_attempts_total", "default", "M", "x"): 1, ("",): 1}
    found = series(measured(COUNTS | later))
    assert found == series(measured())


def test_lanes_and_gates_are_told_also_when_there_is_nothing_to_tell() -> None:
    found = series(measured(lanes={("N", "batch"): Lane(3, 2, 1_500), ("", "quarantine"): Lane(1)}, cooling=("N",),
                            paused=(("agent", "odd"),)))  # fmt: skip
    assert found["agent_queue_depth"] == {
        ("M", "interactive"): 0, ("M", "batch"): 0, ("N", "batch"): 3, ("", "quarantine"): 1,
    }  # fmt: skip
    assert found["agent_queue_oldest_age_seconds"]["N", "batch"] == 1.5
    assert found["agent_tasks_running"]["N", "batch"] == 2
    assert found["agent_model_cooling"] == {("M",): 0, ("N",): 1}
    assert found["agent_paused"] == {("model", "M"): 0, ("model", "N"): 0, ("agent", "default"): 0, ("agent", "odd"): 1}


def test_each_gauge_is_its_own() -> None:
    found = series(measured(scheduled=1, waiting=2, dead=3, sessions_active=4, sessions_idle=5, behind={"bob": 6},
                            workers=7, quarantine_workers=8, slots=9,
                            redis=RedisState(10, 11, persistence_ok=False)))  # fmt: skip
    numbers = {
        name: found[name]
        for name in (
            "agent_tasks_scheduled", "agent_tasks_waiting", "agent_dead_letters", "agent_sessions",
            "agent_tasks_blocked", "agent_workers", "agent_slots", "agent_redis_memory_bytes",
            "agent_redis_persistence_ok", "agent_redis_up",
        )
    }  # fmt: skip
    assert numbers == {
        "agent_tasks_scheduled": {(): 1},
        "agent_tasks_waiting": {(): 2},
        "agent_dead_letters": {(): 3},
        "agent_sessions": {("active",): 4, ("idle",): 5},
        "agent_tasks_blocked": {("bob",): 6},
        "agent_workers": {("ordinary",): 7, ("quarantine",): 8},
        "agent_slots": {(): 9},
        "agent_redis_memory_bytes": {("used",): 10, ("max",): 11},
        "agent_redis_persistence_ok": {(): 0},
        "agent_redis_up": {(): 1},
    }


def test_a_redis_that_may_not_be_asked_about_itself_tells_all_but_that() -> None:
    found = series(measured(redis=None))
    assert {stored.name for stored in STORED} - found.keys() == {
        "agent_redis_memory_bytes", "agent_redis_persistence_ok",
    }  # fmt: skip


def test_the_text_is_prometheus_s_own() -> None:
    name = 'a "quoted"\\ name\n'
    page = generate_latest(StoredPage(samples(measured(behind={name: 3}), models=("M",), agents=()))).decode()
    families = {family.name: family for family in text_string_to_metric_families(page)}
    (blocked,) = families["agent_tasks_blocked"].samples
    assert (blocked.labels, blocked.value) == ({"caller": name}, 3)
    for stored in STORED:
        assert f"# HELP {stored.name} " in page
        assert f"# TYPE {stored.name} {stored.kind}\n" in page


def test_when_redis_is_away_nothing_is_told_but_that() -> None:
    page = generate_latest(StoredPage(away())).decode()
    assert [line for line in page.splitlines() if not line.startswith("#")] == ["agent_redis_up 0.0"]
