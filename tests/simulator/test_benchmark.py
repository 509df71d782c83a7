"""The benchmark command runs, and prints of each case what docs/simulator.md has figures of."""

import re
import subprocess
import sys

from loadtest.simulator.benchmark import CASES
from tests.simulator.server import ROOT


def test_it_compares_the_simulator_with_a_bare_application() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "loadtest.simulator.benchmark", "--rounds", "1", "--seconds", "0.3"],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    for case in CASES:
        for who in ("bare", "simulator"):
            (line,) = [line for line in lines if line.startswith(case) and f" {who} " in line]
            rate = re.search(r" ([\d,]+) calls/s", line)
            assert rate is not None
            assert int(rate[1].replace(",", "")) > 0
        assert any(line.startswith(case) and "ratio" in line for line in lines)
