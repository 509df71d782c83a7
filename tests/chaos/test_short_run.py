"""A short run, as CI has time for: eight faults in half a minute or so, by the command line, over real processes.

It takes as long as the machine lets it. Its floor of work in flight is that of so many faults: the 200 of a real run
are those of a hundred.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from core_config import ROOT

RUN = {
    "tasks": 170,
    "seed": 98,  # whose first faults are of eight kinds, and no poison: that alone takes a minute
    "every": 2,
    "faults": 8,
    "floor": 48,  # five in a model call and one in a tool, at each
    "at-once": 40,
    "workers": 2,
    "gateways": 1,
    "latency": 1,
    "tool-seconds": 0.5,
    "lease": 5,  # as shipped: a busy machine may hold up a shorter one
}
WITHIN_S = 600


def started(folder: Path, **more: object) -> "subprocess.Popen[str]":
    options = {**RUN, "keep": folder / "run", **more}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.chaos", *words],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def left_of(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def test_eight_faults_lose_nothing(tmp_path: Path) -> None:
    process = started(tmp_path)
    try:
        said, _ = process.communicate(timeout=WITHIN_S)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert "| verdict" in said
    struck = [line for line in said.splitlines() if line.startswith("| ") and " s | " in line]
    assert len(struck) == RUN["faults"], said


def test_the_real_agent_runs_in_it(tmp_path: Path) -> None:
    """No faults: only that what a fork has loaded works as what a command would load."""
    process = started(tmp_path, agent="real", tasks=6, every=500, floor=0, latency=0.1)
    try:
        said, _ = process.communicate(timeout=WITHIN_S)
    finally:
        process.kill()
    assert process.returncode == 0, said


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_however_it_ends_nothing_is_left(tmp_path: Path, how: signal.Signals) -> None:
    process = started(tmp_path, tasks=100_000)
    try:
        assert process.stdout is not None
        while line := process.stdout.readline():
            if "open" in line:
                break
        assert line, "it ended by itself"
        everything = left_of(psutil.Process(process.pid))
        assert len(everything) > 5
        os.kill(process.pid, how)
        _, alive = psutil.wait_procs(everything[1:], timeout=60)
        assert alive == []
        assert process.wait(60) == (130 if how is signal.SIGINT else -signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "witness.jsonl").write_text("")
    process = started(tmp_path)
    said, _ = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 2
    assert "is not empty" in said
