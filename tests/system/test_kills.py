"""kill -9 of each process in turn, with a task in flight: it comes back by itself, and the task ends."""

import os
import signal
import time

import httpx
import pytest


@pytest.mark.parametrize("victim", ["gateway-1", "worker-1", "simulator", "redis"])
def test_a_killed_process_comes_back_and_the_task_ends(system, victim):
    # a worker's first run builds the agent first: the simulator could be back before it was ever called
    assert system.ask("hello")["status"] == "success"
    before = system.pid(victim)
    task_id = system.submit("[[delay=1]] Compute 6 * 7")
    while system.http.get(f"/task/{task_id}").json()["status"] != "running":
        time.sleep(0.02)
    os.kill(before, signal.SIGKILL)  # at once: to ask for the pid again can take longer than the task runs
    task = system.final(task_id)
    assert task["status"] == "success"
    assert "42" in task["result"]
    assert task["attempt"] == (2 if victim in {"worker-1", "simulator"} else 1)
    until = time.monotonic() + 30
    while not _ready(system):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert system.pid(victim) != before
    assert "42" in system.ask("Compute 6 * 7")["result"]


def _ready(system) -> bool:
    try:
        return system.http.get("/ready").status_code == 200
    except httpx.TransportError:
        return False
