"""Runs of the chaos kit as a user starts them, and what their tables say."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from core_config import ROOT

CONTROL = ("--system", "tests.chaos.control.system:StockArq")
NO_FAULTS = ("--every", "1000000", "--floor", "0")
FEW = ("--tasks", "120", "--at-once", "40", "--latency", "1", "--tool-seconds", "1")
"""Tasks of about four seconds, longer than a lease of the kit's, so that most are in a call when a fault strikes."""
SEED = ("--seed", "185", "--every", "4", "--floor", "30")
"""Its first faults: kill -9 of a worker and of Redis, connections half open, SIGSTOP and SIGTERM of a worker."""
PASSED, WRONG = 0, 1


@dataclass(frozen=True, slots=True)
class ChaosRun:
    code: int
    wrongs: dict[str, int]
    """What must be 0 and was not, by its name in the table."""
    counts: dict[str, int]
    """Every number of the table."""
    said: str

    def named(self) -> str:
        """The wrongs in one line."""
        return ", ".join(f"{count} {name}" for name, count in self.wrongs.items()) or "nothing"


def chaos_run(*options: str, copy: Path = ROOT) -> ChaosRun:
    """`copy`: of the project, whose own kit runs."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", *options],
        cwd=copy, capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert "| verdict" in said, said
    rows = re.findall(r"^\| (\*\*)?(.+?)(?:\*\*)? +\| (\d+) \|$", said, re.MULTILINE)
    counts = {name: int(count) for _, name, count in rows}
    return ChaosRun(done.returncode, {name: counts[name] for bold, name, _ in rows if bold}, counts, said)
