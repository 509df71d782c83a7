"""The runbook's ten nights are staged, and the panel that it names shows the culprit, by a real Prometheus."""

import contextlib
import math
import os
import signal
from typing import Any

import orjson
import pytest
import redis

from core_config import ROOT
from tests.prometheus.conftest import SLOTS, Watched
from tests.prometheus.test_runbook import NIGHTS
from tests.prometheus.watchers import Prometheus, until

BOARDS = ROOT / "monitoring" / "grafana" / "dashboards"
PANEL_OF = {night: panel for night, _, panel, *_ in NIGHTS}


def expressions(panel: str) -> list[str]:
    """Those of the panel `Dashboard: title`, as Grafana would send them with nothing chosen."""
    dashboard, _, title = panel.partition(": ")
    for path in sorted(BOARDS.glob("*.json")):
        board = orjson.loads(path.read_bytes())
        if board["title"].endswith(dashboard):
            return [_filled(target["expr"]) for target in _panel(board["panels"], title)["targets"]]
    raise AssertionError(f"there is no dashboard {dashboard}")


def _panel(panels: list[dict[str, Any]], title: str) -> dict[str, Any]:
    inside = [one for panel in panels for one in (panel, *panel.get("panels", []))]
    return next(panel for panel in inside if panel["title"] == title and panel["type"] != "row")


def _filled(expression: str) -> str:
    for variable in ("model", "agent", "caller"):
        expression = expression.replace(f'"${variable}"', '".*"')
    return expression.replace("$__rate_interval", "2m").replace("$__range", "10m")


def shown(prometheus: Prometheus, night: str) -> list[tuple[dict[str, str], float]]:
    """What the night's panel draws now."""
    return [
        (series["metric"], float(series["value"][1]))
        for expression in expressions(PANEL_OF[night])
        for series in prometheus.query(expression)
    ]


def culprit(prometheus: Prometheus, night: str, **labels: str) -> float:
    """The greatest value that the panel has for these labels; 0 when it does not have them."""
    wanted = labels.items()
    return max((value for metric, value in shown(prometheus, night) if wanted <= metric.items()), default=0)


def until_it_is_named(prometheus: Prometheus, night: str, stage: Any, born: str, **labels: str) -> None:
    """Stages it, and again when the series `born` is there: a rate sees growth, and not what a series begins with."""
    stage()
    until(lambda: prometheus.query(born), born)
    stage()
    until(lambda: culprit(prometheus, night, **labels) > 0, f"{night}: {labels} has a value")


@contextlib.contextmanager
def stopped(watched: Watched, *names: str):
    pids = [watched.pid(name) for name in names]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def a_slow_model(watched, prometheus, night):
    def stage():
        watched.ask("[[delay=1.5]] hello", model="Sluggish")

    until_it_is_named(prometheus, night, stage, 'agent_model_call_seconds_count{model="Sluggish"}', model="Sluggish")
    watched.ask("hello")
    slowest = max((one for one in shown(prometheus, night) if not math.isnan(one[1])), key=lambda one: one[1])
    assert slowest[0]["model"] == "Sluggish"
    assert slowest[1] > 1


def a_dead_key(watched, prometheus, night):
    def stage():
        watched.ask("[[error=openai_invalid_key]] hello", model="Dead-Key")

    born = 'agent_model_calls_total{model="Dead-Key"}'
    until_it_is_named(prometheus, night, stage, born, model="Dead-Key", error_code="provider_auth")


def one_noisy_caller(watched, prometheus, night):
    def stage():
        for _ in range(20):
            watched.submit_as_alice("hello")

    until_it_is_named(prometheus, night, stage, 'agent_tasks_submitted_total{caller="alice"}', caller="alice")


def a_failing_tool(watched, prometheus, night):
    def stage():
        watched.ask("Compute 1 / 0")

    until_it_is_named(prometheus, night, stage, 'agent_tool_calls_total{outcome="error"}', tool="calculator")


def a_full_redis(watched, prometheus, night):
    with redis.Redis.from_url(watched.status()["redis"]["url"]) as client:
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory", int(used * 1.05))
        try:
            until(
                lambda: culprit(prometheus, night, kind="used") > 0.9 * culprit(prometheus, night, kind="max") > 0,
                "memory that is nearly all used",
            )
        finally:
            client.config_set("maxmemory", 0)


def a_stuck_session(watched, prometheus, night):
    held = [watched.submit_as_alice("[[hang]] hello", session_id="night")]
    held += [watched.submit_as_alice("hello", session_id="night") for _ in range(3)]
    until(lambda: culprit(prometheus, night, caller="alice") == 3, "three tasks behind alice's session")
    for task_id in reversed(held):
        watched.alice.post(f"/task/{task_id}/cancel")


def a_retry_storm(watched, prometheus, night):
    words = iter("ab")  # the simulator counts `times` by message

    def stage():
        watched.ask(f"[[status=503 times=1]] {next(words)}", model="Stormy")

    born = 'agent_retries_total{model="Stormy"}'
    until_it_is_named(prometheus, night, stage, born, error_code="provider_unavailable")


def spend_doubled(watched, prometheus, night):
    def stage():
        watched.ask("hello", model="Dear")

    until_it_is_named(prometheus, night, stage, 'agent_cost_usd_total{model="Dear"} > 0', caller="ops")


def no_worker(watched, prometheus, night):
    with stopped(watched, "worker-1", "worker-2"):
        until(lambda: [value for _, value in shown(prometheus, night)] == [0], "no worker")


def a_worker_lost(watched, prometheus, night):
    until(lambda: any(value == 2 * SLOTS for _, value in shown(prometheus, night)), "the slots of both")
    with stopped(watched, "worker-2"):
        until(lambda: any(value == SLOTS for _, value in shown(prometheus, night)), "the slots of one")
    until(lambda: any("instance" in metric for metric, _ in shown(prometheus, night)), "slots by host")


STAGED = {
    "a slow model": a_slow_model,
    "a dead key": a_dead_key,
    "one noisy caller": one_noisy_caller,
    "a failing tool": a_failing_tool,
    "a full Redis": a_full_redis,
    "a stuck session": a_stuck_session,
    "a retry storm": a_retry_storm,
    "spend doubled": spend_doubled,
    "a worker lost in a deploy": a_worker_lost,
    "no worker": no_worker,
}


def test_every_night_of_the_runbook_is_staged():
    assert set(STAGED) == set(PANEL_OF)


@pytest.mark.parametrize("night", STAGED)
def test_the_panel_of_a_night_shows_the_culprit(watched, prometheus, night):
    STAGED[night](watched, prometheus, night)
