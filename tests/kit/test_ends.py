"""No process is left behind, also of a test run that is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from core_config import ROOT
from longhaul_testing.ports import free_port

TEST = """
import json, time

def test_that_hangs(start_longhaul, simulator):
    system = start_longhaul().system
    pids = [system.pid(name) for name in ("redis", "gateway-1", "worker-1")]
    print(json.dumps({"pids": [*pids, system._process.pid]}), flush=True)
    time.sleep(600)
"""


def test_a_killed_run_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["longhaul_testing"]\n')
    (tmp_path / "test_hang.py").write_text(TEST)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-s",
        "-p",
        "no:valkey",
        "-p",
        "no:schemathesis",
        "-p",
        "no:cacheprovider",
    ]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        line = next(line for line in running.stdout if '"pids"' in line)
        pids = set(json.loads(line[line.index("{") :])["pids"])
        pids |= {child.pid for child in psutil.Process(running.pid).children(recursive=True)}
        assert len(pids) >= 5, "redis, gateway, worker, their supervisor, the simulator"
        os.kill(running.pid, signal.SIGKILL)
    until = time.monotonic() + 60
    while left := [pid for pid in pids if psutil.pid_exists(pid) and not _is_zombie(pid)]:
        assert time.monotonic() < until, [psutil.Process(pid).cmdline() for pid in left]
        time.sleep(0.05)


def _is_zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_no_two_processes_are_given_the_same_port() -> None:
    ask = "from longhaul_testing.ports import free_port; print(*(free_port() for _ in range(200)), flush=True); input()"
    others = [
        subprocess.Popen(
            [sys.executable, "-c", ask], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    given = [free_port() for _ in range(20)]
    try:
        for other in others:
            assert other.stdout is not None
            given += [int(port) for port in other.stdout.readline().split()]
    finally:
        for other in others:
            other.communicate("\n")
    assert len(given) == len(set(given)) == 620
