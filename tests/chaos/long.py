"""The runs that docs/reliability.md tells of, one after another. What has a table already is not run again."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from core_config import ROOT

RUNS: Final = [("plain", 10_000, seed) for seed in range(1, 6)] + [("real", 1_000, seed) for seed in range(1, 6)]
SIZE: Final = {"workers": 6, "slots": 15}
"""Each worker that is killed charges fifteen tasks, not thirty: fewer get to quarantine, which runs two at a time, in
processes that take seconds to start.
"""


def long(folder: Path) -> int:
    """The highest exit code of the runs. A run's table is `folder/AGENT-SEED.md`, its journals are beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    worst = 0
    for agent, tasks, seed in RUNS:
        page, journals = folder / f"{agent}-{seed}.md", folder / f"{agent}-{seed}"
        if page.exists():
            print(f"== {page} is there", flush=True)
            continue
        shutil.rmtree(journals, ignore_errors=True)  # of a run that was interrupted
        options = {"agent": agent, "tasks": tasks, "seed": seed, "table": page, "keep": journals, **SIZE}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        print(f"== {agent} agent, {tasks} tasks, seed {seed}", flush=True)
        worst = max(worst, subprocess.call([sys.executable, "-m", "tests.chaos", *words], cwd=ROOT))
    return worst
