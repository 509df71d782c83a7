"""promtool reads every expression, and computes those that are easily wrong, over series that are written down here."""

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from .boards import TARGETS
from .debian import program

Computes = Callable[[str, str, Mapping[str, str], Mapping[str, float]], None]


@pytest.fixture(scope="module")
def promtool() -> str:
    return program("promtool", "prometheus")


def test_every_expression_is_one(promtool: str, tmp_path: Path) -> None:
    """As rules of a scratch file; JSON is YAML too."""
    rules = [{"record": f"scratch:{number}", "expr": target.asked("2m", "1h")} for number, target in enumerate(TARGETS)]
    assert len(rules) > 80
    file = tmp_path / "scratch.yml"
    file.write_text(json.dumps({"groups": [{"name": "scratch", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


@pytest.fixture
def computes(promtool: str, tmp_path: Path) -> Computes:
    """Holds that the first expression of a panel gives these values, by legend's labels, over these series.

    A series is its text and what it grows by every 15 seconds, for half an hour.
    """

    def computes(board: str, title: str, series: Mapping[str, str], expected: Mapping[str, float]) -> None:
        target = next(one for one in TARGETS if (one.board, one.panel["title"]) == (board, title))
        expression = target.asked("2m", "20m")
        counted = {"expr": f"count({expression})", "exp_samples": [{"labels": "{}", "value": len(expected)}]}
        equal = [  # but for the last digits
            {
                "expr": f"abs(({expression}) - {value}) < bool 1e-9",
                "exp_samples": [{"labels": labels, "value": int(other == value)} for labels, other in expected.items()],
            }
            for value in expected.values()
        ]
        test = {
            "interval": "15s",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [one | {"eval_time": "25m"} for one in (counted, *equal)],
        }
        file = tmp_path / "test.yml"
        file.write_text(json.dumps({"rule_files": [], "evaluation_interval": "15s", "tests": [test]}))
        done = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    return computes


def requests(endpoint: str, status: int, kind: str, instance: str = "a") -> str:
    return f'agent_requests_total{{endpoint="{endpoint}", status="{status}", kind="{kind}", instance="{instance}"}}'


SOME_FAIL = {
    requests("/task", 200, "submit"): "0+98x100",
    requests("/task", 200, "submit", "b"): "0+100x100",
    requests("/task", 503, "submit"): "0+2x100",
    requests("/task/{task_id}", 200, "poll"): "0+50x100",
    requests("/ready", 503, "probe"): "0+900x100",  # a probe that fails is no failed request
}


def test_the_5xx_share_is_that_of_all_requests(computes: Computes) -> None:
    """2 of 250. Dividing the series by themselves would show 1."""
    computes("overview", "5xx share", SOME_FAIL, {"{}": 0.008})


def test_the_5xx_share_of_an_endpoint_is_that_of_its_requests(computes: Computes) -> None:
    computes(
        "overview", "5xx share by endpoint", SOME_FAIL, {'{endpoint="/task"}': 0.01, '{endpoint="/task/{task_id}"}': 0}
    )


def test_without_requests_there_is_no_share(computes: Computes, promtool: str) -> None:
    with pytest.raises(AssertionError, match=r"got:\s*nil|got: \[\]|nil"):
        computes("overview", "5xx share", {requests("/task", 200, "submit"): "5x100"}, {"{}": 0})


def test_two_gateways_that_show_the_same_count_are_one(computes: Computes) -> None:
    cost = 'agent_cost_usd_total{{caller="{}", agent="default", model="{}", instance="{}"}}'
    computes(
        "overview",
        "Cost per hour by model",
        {
            cost.format("ada", "GPT", "a"): "0+0.01x100",
            cost.format("ada", "GPT", "b"): "0+0.01x100",
            cost.format("bob", "GPT", "a"): "0+0.02x100",
            cost.format("bob", "GPT", "b"): "0+0.02x100",
            cost.format("bob", "Qwen-Max", "a"): "0+0.05x100",
        },
        {'{model="GPT"}': 0.03 * 240, '{model="Qwen-Max"}': 0.05 * 240},
    )


def test_processes_that_count_for_themselves_are_summed(computes: Computes) -> None:
    calls = 'agent_tool_calls_total{{tool="{}", outcome="{}", instance="{}"}}'
    computes(
        "tasks",
        "Tool error share by tool",
        {
            calls.format("search", "ok", "a"): "0+90x100",
            calls.format("search", "error", "a"): "0+10x100",
            calls.format("search", "ok", "b"): "0+100x100",
            calls.format("clock", "ok", "a"): "0+1x100",
        },
        {'{tool="search"}': 0.05, '{tool="clock"}': 0},
    )


def test_a_percentile_is_that_of_all_processes_together(computes: Computes) -> None:
    """98 quick ones on one host and 2 slow ones on the other: the median is quick. A mean of medians would not be."""
    bucket = 'agent_task_wait_seconds_bucket{{model="GPT", lane="batch", le="{}", instance="{}"}}'
    computes(
        "overview",
        "Wait before an attempt, p50 p90 p99",
        {
            **{bucket.format(le, "a"): "0+98x100" for le in ("0.1", "60", "+Inf")},
            bucket.format("0.1", "b"): "0+0x100",
            bucket.format("60", "b"): "0+2x100",
            bucket.format("+Inf", "b"): "0+2x100",
        },
        {"{}": 0.1 * 50 / 98},
    )
