"""Every panel asks a real Prometheus that scrapes a real system under load, and gets numbers; and names who it was."""

import time
from collections.abc import Iterator

import pytest

from tests.conftest import RedisServer

from .boards import TARGETS, Target
from .load import round_of_load, stuck_session
from .observed import Observed, observed
from .prometheus_server import PATIENCE_S
from .promql import EXPORTERS, selectors

ELSEWHERE = {
    "agent_trace_exports_total": "tests/traces: a backend takes or refuses spans there",
    "agent_trace_spans_dropped_total": "tests/traces",
}
"""By metric: where its numbers are tested, because this load has none."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[Observed]:
    """The second round is what a counter that begins with its first event has grown by."""
    with observed(tmp_path_factory.mktemp("observed"), redis_server.url) as one:
        finished = "sum(max by (caller, agent, model, status, error_code) (agent_tasks_finished_total))"
        round_of_load(one.system, 1)
        done = one.prometheus.until(f"{finished} >= 15")[""]
        round_of_load(one.system, 2)
        one.prometheus.until(f"{finished} >= {2 * done}")
        with stuck_session(one.system):
            one.prometheus.until("agent_tasks_blocked == 1")
        yield one


def test_every_panel_has_numbers(loaded: Observed) -> None:
    absent = {prefix for prefix in EXPORTERS if prefix.strip("_") not in loaded.exporters}
    missing = [
        target
        for target in TARGETS
        if not any(metric in ELSEWHERE or metric.startswith(tuple(absent)) for metric in metrics_of(target))
    ]
    assert len(missing) > 100
    end = time.monotonic() + PATIENCE_S
    while missing := [one for one in missing if not drawn(loaded, one)]:
        assert time.monotonic() < end, "no data:\n" + "\n".join(map(str, missing))
        time.sleep(0.5)


@pytest.mark.parametrize(
    ("board", "title", "who"),
    [
        ("overview", "5xx share by endpoint", "endpoint=/chat"),
        ("overview", "Problems by code", "code=unknown_model"),
        ("models", "Errors by model and cause", "error_code=provider_no_balance, model=Fast"),
        ("models", "Error share by model", "model=Dear"),
        ("models", "Answers without a price", "model=Dear"),
        ("models", "Cost per hour by model", "model=Fast"),
        ("tasks", "Submitted by caller", "caller=local"),
        ("tasks", "Retries by cause", "error_code=provider_rate_limited"),
        ("tasks", "Failures by agent and cause", "agent=default, error_code=max_iterations"),
        ("tasks", "Stopped by the iteration limit", "agent=default"),
        ("tasks", "Dead letters by agent and cause", "agent=default, error_code=provider_unavailable"),
        ("tasks", "Blocked behind their session, by caller", "caller=local"),
        ("tasks", "Tool error share by tool", "tool=calculator"),
    ],
)
def test_a_panel_names_the_culprit(loaded: Observed, board: str, title: str, who: str) -> None:
    target = next(one for one in TARGETS if (one.board, one.panel["title"]) == (board, title))
    end = time.monotonic() + PATIENCE_S
    while max(drawn(loaded, target).get(who, [0])) <= 0:
        assert time.monotonic() < end, f"{who} is not above 0 in {drawn(loaded, target)}"
        time.sleep(0.5)


def test_who_did_nothing_wrong_is_not_named(loaded: Observed) -> None:
    causes = next(one for one in TARGETS if one.panel["title"] == "Errors by model and cause")
    assert not [name for name in drawn(loaded, causes) if "model=Dear" in name and "provider_no_balance" in name]
    tools = next(one for one in TARGETS if one.panel["title"] == "Tool error share by tool")
    assert set(drawn(loaded, tools)["tool=get_time"]) == {0}


def drawn(loaded: Observed, target: Target) -> dict[str, list[float]]:
    """What its panel shows of the load."""
    return loaded.prometheus.drawn(target.asked("1m", "5m"), loaded.since)


def metrics_of(target: Target) -> set[str]:
    return {selector.metric for selector in selectors(target.expression)}
