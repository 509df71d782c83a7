"""The commands of a user, on the real gateway, worker, agent and simulator."""

import csv
import io
import json
from collections.abc import Iterator

import pytest

from .conftest import Copy

QUESTION = "Compute (123 * 456 + 789) / 3"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    made = Copy(tmp_path_factory.mktemp("real") / "longhaul")
    for name in ("agent", "gateway", "loadtest", "monitoring", "worker"):
        made.add(name)
    # a closed port: what is on this machine is never looked for behind a proxy
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        made.environment[name] = "http://127.0.0.1:9"
    made.start()
    yield made
    made.end()


def test_ask_prints_the_answer_and_says_that_it_is_simulated(real: Copy) -> None:
    asked = real.manage("ask", QUESTION)
    assert asked.returncode == 0, asked.stderr
    assert "18959" in asked.stdout
    assert len(asked.stdout.splitlines()) == 1
    assert "SIMULATED" in asked.stderr
    assert "tokens" in asked.stderr
    assert "cost $0.000000" in asked.stderr


def test_ask_says_why_a_task_could_not_be_submitted(real: Copy) -> None:
    unknown = real.manage("ask", QUESTION, "--model", "GPT-2")
    assert unknown.returncode == 1
    assert "422" in unknown.stderr
    assert "Known" in unknown.stderr or "known" in unknown.stderr
    assert unknown.stdout == ""


def test_smoke_passes_and_cost_has_counted(real: Copy) -> None:
    smoke = real.manage("smoke", "--url", real.url)
    assert smoke.returncode == 0, smoke.stdout + smoke.stderr
    assert smoke.stdout.count("  ok   ") == 8
    assert "FAIL" not in smoke.stdout
    counted = real.manage("cost", "--by", "caller", "--csv")
    (row,) = csv.DictReader(io.StringIO(counted.stdout))
    assert row["caller"] == "local"
    assert int(row["tasks"]) >= 2
    assert int(row["total_tokens"]) == int(row["prompt_tokens"]) + int(row["completion_tokens"]) > 0
    assert row["cost_usd"] == "0.0"


def test_the_doctor_finds_the_system_well_from_here_and_from_outside(real: Copy) -> None:
    here = real.manage("doctor", "--json")
    assert here.returncode == 0, here.stdout
    levels = {one["check"]: one["level"] for one in json.loads(here.stdout)["findings"]}
    assert {levels[check] for check in ("gateway", "processes", "workers", "agents", "audit", "redis")} == {"ok"}
    there = real.manage("doctor", "--url", real.url)
    assert there.returncode == 0, there.stdout
    assert "SIMULATED" in there.stdout
    assert there.stdout.count("ok       remote-") == 5
    assert "one model call" in there.stderr


def test_smoke_fails_where_something_is_wrong(real: Copy) -> None:
    model = real.manage("smoke", "--url", f"http://127.0.0.1:{real.state().simulator_port}")
    assert model.returncode == 1
    assert "FAIL" in model.stdout
    assert "checks failed" in model.stderr
    assert "Traceback" not in model.stderr
