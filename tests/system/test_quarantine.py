"""A task that ends the process it runs in, under `manage.py`: a worker is lost, then the task, and nothing else.

MAX_CRASHES is 2, for each worker takes seconds to start: so the second run is the one that is alone.
"""

import re

import psutil

from tests.system.conftest import System

POISON = """
import os


async def agent(input, ctx):
    os._exit(9)
"""


def test_poison_costs_one_worker_and_its_neighbour_succeeds(tmp_path):
    system = System(tmp_path, AGENTS_FILE="mine/agents.toml", MAX_CRASHES="2", DRAIN_SECONDS="5")
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "poison.py").write_text(POISON)
    (folder / "agents.toml").write_text('[agents.poison]\nrun = "poison:agent"\n')
    try:
        system.start()
        neighbour = system.submit("[[delay=3]] What is 6 * 7?")
        task = system.final(system.submit("x", agent="poison"), within_s=300)
        assert (task["status"], task["error_code"]) == ("failed", "worker_lost"), task
        assert system.final(neighbour, within_s=300)["status"] == "success"
        status = system.status()
        (worker,) = [process for process in status["processes"] if process["role"] == "worker"]
        assert worker["restarts"] == 1
        logs = system.manage("logs", "-n", "1000").stdout
        alone = {int(pid) for pid in re.findall(r"quarantine_started \S+ quarantine_pid=(\d+)", logs)}
        assert alone, logs
        shown = {found["pid"] for found in status["workers"] if found["quarantine"]}
        assert shown <= alone
        assert re.search(r"worker-1 +\| .* quarantine\[\d+\] .*attempt_started", logs), (
            "its lines are among the worker's"
        )
        assert system.manage("stop").returncode == 0
        assert not [pid for pid in alone if psutil.pid_exists(pid)]
    finally:
        system.end()
