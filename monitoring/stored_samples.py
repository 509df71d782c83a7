"""From what the store measured to what Prometheus reads: every series of `metrics.STORED`. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from taskstore.error_codes import ErrorCode
from taskstore.measures import LaneName, Measures, RedisState

from .metrics import STORED

Series = Mapping[tuple[str, ...], float]
"""By label values, in the order of the metric's labels."""

COST = "agent_cost_usd_total"
COUNTERS = {stored.name: stored for stored in STORED if stored.kind == "counter"}
RESCUES = ("worker_lost", "lost_claim")
RELEASES = ("released", "handed_on")
BURIED_WITHOUT_RETRIES = (ErrorCode.WORKER_LOST, ErrorCode.TOOL_OUTCOME_UNKNOWN)
ORDINARY_LANES: tuple[LaneName, ...] = ("interactive", "batch")


def samples(measures: Measures, *, models: Iterable[str], agents: Iterable[str]) -> dict[str, Series]:
    """By metric. `models` and `agents` have their series also before there is anything to say of them."""
    return {name: dict(series) for name, series in (*_counters(measures.counts), *_gauges(measures, models, agents))}


def away() -> dict[str, Series]:
    """When Redis does not answer: that, and no number of before."""
    return {"agent_redis_up": {(): 0}}


def _counters(counts: Mapping[tuple[str, ...], int]) -> Iterator[tuple[str, Series]]:
    found: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in COUNTERS}
    for (name, *labels), count in counts.items():
        # what another version counts, this one does not know how to show
        if name in COUNTERS and len(labels) == len(COUNTERS[name].labels):
            found[name][tuple(labels)] = count / 1e9 if name == COST else count
    for name, expected in _begun(found):
        found[name].setdefault(expected, 0)
    yield from found.items()


def _begun(found: Mapping[str, Series]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Series that are to be expected: a counter that is first seen at 1 has not increased, for Prometheus."""
    for cause in RESCUES:
        yield "agent_rescues_total", (cause,)
    for cause in RELEASES:
        yield "agent_releases_total", (cause,)
    retried: dict[tuple[str, str], set[str]] = {}
    for agent, model, code in found["agent_retries_total"]:
        retried.setdefault((agent, model), set()).add(code)
    for caller, agent, model, _ in list(found["agent_tasks_submitted_total"]):
        yield "agent_tasks_finished_total", (caller, agent, model, "success", "")
        yield COST, (caller, agent, model)
        for direction in ("prompt", "completion"):
            yield "agent_tokens_total", (caller, agent, model, direction)
        for name in ("agent_attempts_total", "agent_replays_total"):
            yield name, (agent, model)
        yield "agent_unpriced_answers_total", (model,)
        for code in {*BURIED_WITHOUT_RETRIES, *retried.get((agent, model), ())}:
            yield "agent_dead_letters_total", (agent, model, code)


def _gauges(measures: Measures, models: Iterable[str], agents: Iterable[str]) -> Iterator[tuple[str, Series]]:
    now = measures.gauges
    lanes = {(model, lane) for model in models for lane in ORDINARY_LANES} | {("", "quarantine"), *now.lanes}
    known = {model for model, _ in lanes} - {""}
    at = {key: now.lanes.get(key) for key in sorted(lanes)}
    yield "agent_queue_depth", {key: lane.ready if lane else 0 for key, lane in at.items()}
    yield "agent_queue_oldest_age_seconds", {key: lane.oldest_ms / 1000 if lane else 0 for key, lane in at.items()}
    yield "agent_tasks_running", {key: lane.running if lane else 0 for key, lane in at.items()}
    yield "agent_tasks_scheduled", {(): now.scheduled}
    yield "agent_tasks_blocked", {(caller,): count for caller, count in now.behind.items()}
    yield "agent_tasks_waiting", {(): now.waiting}
    yield "agent_dead_letters", {(): now.dead}
    yield "agent_sessions", {("active",): now.sessions_active, ("idle",): now.sessions_idle}
    yield "agent_workers", {("ordinary",): now.workers, ("quarantine",): now.quarantine_workers}
    yield "agent_slots", {(): now.slots}
    yield "agent_model_cooling", {(name,): float(name in now.cooling) for name in {*known, *now.cooling}}
    may_pause = {("model", name) for name in known} | {("agent", name) for name in agents}
    yield "agent_paused", {what: float(what in now.paused) for what in may_pause | {*now.paused}}
    yield "agent_redis_up", {(): 1}
    yield from _redis(measures.redis)


def _redis(state: RedisState | None) -> Iterator[tuple[str, Series]]:
    if state is not None:
        yield "agent_redis_memory_bytes", {("used",): state.memory_used, ("max",): state.memory_max}
        yield "agent_redis_persistence_ok", {(): float(state.persistence_ok)}
