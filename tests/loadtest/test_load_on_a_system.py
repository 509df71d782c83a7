"""The Locust file, `manage.py load` and the tutorial's own Locust file on a whole system."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import pytest

from core_config import ROOT
from operations.load import WAYS
from tests.system.conftest import System

TUTORIAL = ROOT / "tests" / "loadtest" / "tutorial_locustfile.py"
ASKED_LATENCY = 0.02


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Its model takes a little while, as SIMULATOR_OPTIONS says. Warm: its first task loads what the others need."""
    system = System(tmp_path_factory.mktemp("loaded"), SIMULATOR_OPTIONS=f"--latency {ASKED_LATENCY}")
    system.start()
    assert system.ask("Hello")["status"] == "success"
    yield system
    system.end()


def runs(system: System) -> list[Path]:
    return sorted((system.folder / "var" / "load").iterdir())


def test_every_kind_of_user_in_one_report(loaded: System) -> None:
    done = loaded.manage(
        "load", "--users", "5", "--spawn-rate", "5", "--run-time", "6s", "--pause", "0.5", "--poll-every", "0.2",
        "--progress-every", "1", *(f"--weight-{way}=1" for way in WAYS),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert " users  " in done.stdout
    assert " submit to final p95 " in done.stdout
    figures = json.loads((runs(loaded)[-1] / "summary.json").read_text())
    rows: dict[tuple[str, str], dict[str, Any]] = {(row["kind"], row["name"]): row for row in figures["rows"]}
    assert {name for kind, name in rows if kind != "task"} == {
        "/task", "/task/{id}", "/task/{id}?wait", "/task/{id}/events", "/chat", "/chat/stream",
    }  # fmt: skip
    ways = [f"submit to final ({way})" for way in ("chat", "events", "poll", "stream", "wait")]
    assert {name for kind, name in rows if kind == "task"} == {"first token", *ways}
    for name in ways:
        # two model calls, each of that latency at least
        assert rows["task", name]["p50_ms"] >= 2 * ASKED_LATENCY * 1000
    assert rows["task", "first token"]["p50_ms"] <= rows["task", "submit to final (stream)"]["max_ms"]
    assert figures["failures"] == []
    for name in ("report.html", "figures_stats.csv", "figures_failures.csv"):
        assert (runs(loaded)[-1] / name).stat().st_size > 0
    assert "submit to final (poll)" in done.stdout


def test_ctrl_c_ends_it_with_its_figures_and_nothing_is_left(loaded: System) -> None:
    process = subprocess.Popen(
        [
            sys.executable, "manage.py", "load", "--users", "2", "--run-time", "1h", "--progress-every", "0.5",
            "--pause", "0",
        ],
        cwd=loaded.folder, env=loaded.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        for line in islice(process.stdout, 400):  # one every half second
            if " users  " in line and "submit to final p95 -" not in line:
                break
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, told
    assert "task submit to final" in told
    assert "Report: " in told
    assert (runs(loaded)[-1] / "report.html").stat().st_size > 10_000
    until = time.monotonic() + 30
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_the_tutorials_own_locust_file_runs_without_a_failure(loaded: System, tmp_path: Path) -> None:
    """Its users choose by chance whether they chat: it runs again, at most five times, until some have submitted."""
    wanted = {("POST", "/chat"), ("POST", "/task"), ("GET", "/task/[id]")}
    asked: set[tuple[str, str]] = set()
    for number in range(5):
        found = tmp_path / f"found{number}"
        done = subprocess.run(
            [
                sys.executable, "-m", "locust", "-f", str(TUTORIAL), "--headless", "--only-summary",
                "--host", loaded.url, "--users", "12", "--spawn-rate", "12", "--run-time", "4s",
                "--stop-timeout", "60", "--json-file", str(found),
            ],
            cwd=tmp_path, env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        entries = json.loads(Path(f"{found}.json").read_text())
        assert [entry for entry in entries if entry["num_failures"]] == []
        asked |= {(entry["method"], entry["name"]) for entry in entries if entry["num_requests"]}
        if asked == wanted:
            return
    assert asked == wanted
