"""What a worker sees, as metrics. One function an event, called where it happens; each costs a few microseconds."""

from collections.abc import Sequence
from functools import cache

from prometheus_client import Counter, Histogram

from agent.run_context import StepEvent
from monitoring import metrics
from taskstore.claims import Claim, Settled, SettleKind
from taskstore.states import Status

CANCELLED, LOST = "cancelled", "lost"
MOST_TOOLS = 200
"""Names of tools that this process counts apart. An MCP server may offer others each time that it is started."""

for _verb in ("settle", "step"):
    metrics.LATE_WRITES.labels(_verb)  # there from the start: a rise from nothing to one is none that Prometheus sees

_tools: set[str] = set()


def claimed(claim: Claim, *, in_quarantine: bool) -> None:
    lane = "quarantine" if in_quarantine else claim.kind.name.lower()
    _wait(claim.model, lane).observe(claim.queued_ms / 1000)


def ended(claim: Claim, kind: SettleKind, settled: Settled, seconds: float) -> None:
    """An attempt, by what became of it: the store may have made another thing of what its worker asked for."""
    outcome: str = kind
    if settled.cancelled_after_ms is not None:
        outcome = CANCELLED
        metrics.CANCEL_SECONDS.observe(settled.cancelled_after_ms / 1000)
    elif kind == "retry" and settled.status is Status.FAILED:
        outcome = "bury"
    elif settled.status is Status.PENDING:
        outcome = "release"
    _run(claim.model, claim.agent, outcome).observe(seconds)


def lost(claim: Claim, seconds: float, *, gave_up: bool) -> None:
    """An attempt whose lease was gone. `gave_up`: the worker knew before it tried to settle."""
    if gave_up:
        metrics.LEASES_LOST.inc()
    _run(claim.model, claim.agent, LOST).observe(seconds)


def late_writes(verb: str, words: Sequence[str]) -> None:
    """Of what the store answered to the writes of a verb."""
    if refused := sum(word != "ok" for word in words):
        metrics.LATE_WRITES.labels(verb).inc(refused)


def slots(used: int, free: int) -> None:
    _slots_used.set(used)
    _slots_free.set(free)


def call(event: StepEvent) -> None:
    """The end of a model or tool call."""
    seconds = (event.duration_ms or 0.0) / 1000
    if event.kind == "model":
        _model_calls(event.name, event.error or "").inc()
        if event.error is None:
            _model_seconds(event.name).observe(seconds)
    elif event.kind == "tool":
        calls, errors, duration = _tool(_known(event.name))
        (calls if event.error is None else errors).inc()
        duration.observe(seconds)


def first_token(model: str, seconds: float) -> None:
    _first_token(model).observe(seconds)


def _known(tool: str) -> str:
    if tool not in _tools:
        if len(_tools) >= MOST_TOOLS:
            return metrics.UNKNOWN
        _tools.add(tool)
    return tool


_slots_used, _slots_free = metrics.SLOTS.labels("used"), metrics.SLOTS.labels("free")


@cache
def _wait(model: str, lane: str) -> Histogram:
    return metrics.TASK_WAIT.labels(model, lane)


@cache
def _run(model: str, agent: str, outcome: str) -> Histogram:
    return metrics.TASK_RUN.labels(model, agent, outcome)


@cache
def _first_token(model: str) -> Histogram:
    return metrics.FIRST_TOKEN.labels(model)


@cache
def _model_calls(model: str, error_code: str) -> Counter:
    return metrics.MODEL_CALLS.labels(model, error_code)


@cache
def _model_seconds(model: str) -> Histogram:
    return metrics.MODEL_CALL_SECONDS.labels(model)


@cache
def _tool(name: str) -> tuple[Counter, Counter, Histogram]:
    calls, errors = (metrics.TOOL_CALLS.labels(name, outcome) for outcome in ("ok", "error"))
    return calls, errors, metrics.TOOL_CALL_SECONDS.labels(name)
