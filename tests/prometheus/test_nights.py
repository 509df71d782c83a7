"""The runbook's ten nights are staged: the panel that it names shows the culprit, by a real Prometheus, so does the log
line, in the processes' own logs, and so does what the command prints.
"""

import contextlib
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
import redis

from core_config import ROOT
from tests.prometheus.conftest import SLOTS, Watched
from tests.prometheus.night_words import lines, logged, printed
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


def until_it_is_named(prometheus: Prometheus, night: str, stage: Callable[[], None], born: str, **labels: str) -> None:
    """Stages it, and again when the series `born` is there: a rate sees growth, and not what a series begins with."""
    stage()
    until(lambda: prometheus.query(born), born)
    stage()
    until(lambda: culprit(prometheus, night, **labels) > 0, f"{night}: {labels} has a value")


@contextlib.contextmanager
def nothing_starts(watched: Watched) -> Iterator[None]:
    """A bad deploy: whatever ends now does not come up again."""
    good = watched.models.read_text(encoding="utf-8")
    watched.models.write_text("[Sluggish", encoding="utf-8")
    try:
        yield
    finally:
        watched.models.write_text(good, encoding="utf-8")


def until_both_work(prometheus: Prometheus) -> None:
    until(lambda: prometheus.value('max(agent_workers{kind="ordinary"})') == 2, "both workers are there")


def has_died(name: str, status: str) -> bool:
    """By the column RESTARTS."""
    return re.search(rf"^{name} .* [1-9]\d*$", status, re.MULTILINE) is not None


def a_slow_model(watched: Watched, prometheus: Prometheus, night: str) -> None:
    tasks: list[str] = []

    def stage() -> None:
        tasks.append(watched.ask("[[delay=1.5]] hello", model="Sluggish")["task_id"])

    until_it_is_named(prometheus, night, stage, 'agent_model_call_seconds_count{model="Sluggish"}', model="Sluggish")
    watched.ask("hello")
    slowest = max((one for one in shown(prometheus, night) if not math.isnan(one[1])), key=lambda one: one[1])
    assert slowest[0]["model"] == "Sluggish"
    assert slowest[1] > 1

    line = logged(watched, night, "model=Sluggish", f"task={tasks[-1]}")
    took = re.search(r" duration_ms=(\d+) ", line)
    assert took
    assert int(took[1]) > 1000
    call = re.search(r"model +Sluggish +([\d.]+) s ", printed(watched, night, TASK_ID=tasks[-1]))
    assert call
    assert float(call[1]) >= 1.5


def a_dead_key(watched: Watched, prometheus: Prometheus, night: str) -> None:
    def stage() -> None:
        watched.ask("hello", model="Dead-Key")

    born = 'agent_model_calls_total{model="Dead-Key"}'
    until_it_is_named(prometheus, night, stage, born, model="Dead-Key", error_code="provider_auth")
    logged(watched, night, "model=Dead-Key")
    said = printed(watched, night, "--timeout", "120")  # loading LiteLLM counts, on a busy machine
    assert "KEY_OF_NOBODY" in said, said


def one_noisy_caller(watched: Watched, prometheus: Prometheus, night: str) -> None:
    tasks: list[str] = []

    def stage() -> None:
        """Twice it is more than all slots."""
        tasks.extend(watched.submit_as_alice("[[hang]] hello") for _ in range(SLOTS + 2))

    until_it_is_named(prometheus, night, stage, 'agent_tasks_submitted_total{caller="alice"}', caller="alice")
    logged(watched, night, "caller=alice", f"task={tasks[-1]}")
    assert tasks[-1] in printed(watched, night, NAME="alice")
    for task_id in reversed(tasks):
        watched.alice.post(f"/task/{task_id}/cancel")


def a_failing_tool(watched: Watched, prometheus: Prometheus, night: str) -> None:
    tasks: list[str] = []

    def stage() -> None:
        tasks.append(watched.ask("Compute 1 / 0")["task_id"])

    until_it_is_named(prometheus, night, stage, 'agent_tool_calls_total{outcome="error"}', tool="calculator")
    logged(watched, night, "tool=calculator", f"task={tasks[-1]}")
    assert re.search(r"tool +calculator .*FAILED: Division by zero", printed(watched, night, TASK_ID=tasks[-1]))


def a_full_redis(watched: Watched, prometheus: Prometheus, night: str) -> None:
    with redis.Redis.from_url(watched.status()["redis"]["url"]) as client:
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory", int(used * 1.05))
        try:
            until(
                lambda: culprit(prometheus, night, kind="used") > 0.9 * culprit(prometheus, night, kind="max") > 0,
                "memory that is nearly all used",
            )
            assert watched.http.post("/task", json={"message": "hello"}).json()["code"] == "storage_full"
            logged(watched, night, "caller=ops")
            assert re.search(r"^failure +redis-memory .*submits are refused", printed(watched, night), re.MULTILINE)
        finally:
            client.config_set("maxmemory", 0)


def a_stuck_session(watched: Watched, prometheus: Prometheus, night: str) -> None:
    held = [watched.submit_as_alice("[[hang]] hello", session_id="night")]
    held += [watched.submit_as_alice("hello", session_id="night") for _ in range(3)]
    until(lambda: culprit(prometheus, night, caller="alice") == 3, "three tasks behind alice's session")
    assert f"which task {held[0]} has" in printed(watched, night, TASK_ID=held[-1])
    last = logged(watched, night, f"task={held[0]}")
    assert [line for line in lines(watched) if held[0] in line][-1] == last
    for task_id in reversed(held):
        watched.alice.post(f"/task/{task_id}/cancel")


def a_retry_storm(watched: Watched, prometheus: Prometheus, night: str) -> None:
    words = iter("ab")  # the simulator counts `times` by message

    def stage() -> None:
        watched.ask(f"[[status=503 times=1]] {next(words)}", model="Stormy")

    born = 'agent_retries_total{model="Stormy"}'
    until_it_is_named(prometheus, night, stage, born, error_code="provider_unavailable")
    logged(watched, night, "model=Stormy", "error_code=provider_unavailable")
    assert "model Stormy" in printed(watched, night, NAME="Stormy")
    until(lambda: prometheus.value('max(agent_paused{name="Stormy"})') == 1, "the storm is stopped")
    assert watched.manage("resume", "--model", "Stormy").returncode == 0


def spend_doubled(watched: Watched, prometheus: Prometheus, night: str) -> None:
    tasks: list[str] = []

    def stage() -> None:
        tasks.append(watched.ask("hello", model="Dear")["task_id"])

    until_it_is_named(prometheus, night, stage, 'agent_cost_usd_total{model="Dear"} > 0', caller="ops")
    line = logged(watched, night, "caller=ops", f"task={tasks[-1]}")
    assert re.search(r" cost_usd=0\.[0-9]*[1-9]", line)
    _, dearest, *_ = printed(watched, night).splitlines()
    assert re.match(r"ops .*\$\d*\.0*[1-9]", dearest) or re.match(r"ops .*\$[1-9]", dearest), dearest


def a_worker_lost(watched: Watched, prometheus: Prometheus, night: str) -> None:
    until(lambda: any(value == 2 * SLOTS for _, value in shown(prometheus, night)), "the slots of both")
    until(lambda: any("instance" in metric for metric, _ in shown(prometheus, night)), "slots by host")
    with nothing_starts(watched):
        watched.kill("worker-2")
        until(lambda: any(value == SLOTS for _, value in shown(prometheus, night)), "the slots of one")
        logged(watched, night)
        status = printed(watched, night)
        assert has_died("worker-2", status), status
        assert not has_died("worker-1", status), status


def no_worker(watched: Watched, prometheus: Prometheus, night: str) -> None:
    until_both_work(prometheus)
    with nothing_starts(watched):
        for name in ("worker-1", "worker-2"):
            watched.kill(name)
        until(lambda: [value for _, value in shown(prometheus, night)] == [0], "no worker")
        logged(watched, night)
        status = printed(watched, night)
        assert has_died("worker-1", status), status


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
def test_panel_log_and_command_of_a_night_name_the_culprit(
    watched: Watched, prometheus: Prometheus, night: str
) -> None:
    STAGED[night](watched, prometheus, night)
