"""`manage.py doctor` beside a system that runs, and one that was killed; and on the real one."""

import dataclasses
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from operations import runstate

from .conftest import Copy, Sleeper, until
from .doctor_runs import Doctor
from .test_doctor_servers import serving


def examined(copy: Copy, *arguments: str, **more: str) -> tuple[int, list[dict[str, Any]]]:
    done: subprocess.CompletedProcess[str] = copy.manage("doctor", "--json", *arguments, **more)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)["findings"]


def of(findings: list[dict[str, Any]], check: str) -> list[tuple[str, str]]:
    return [(one["level"], one["says"]) for one in findings if one["check"] == check]


def amiss(findings: list[dict[str, Any]], check: str) -> dict[str, Any]:
    (found,) = [one for one in findings if one["check"] == check and one["level"] != "ok"]
    return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """Two workers; the private Redis."""
    made = Copy(tmp_path_factory.mktemp("doctor") / "longhaul")
    made.environment["WORKER_PROCESSES"] = "2"
    made.start()
    yield made
    made.end()


def test_what_runs_is_told_as_it_is(running: Copy) -> None:
    code, findings = examined(running)
    assert code == 0, findings
    state = running.state()
    (redis,) = of(findings, "redis")
    assert redis == ("ok", f"{state.redis_url} answers")
    assert of(findings, "processes") == [("ok", f"{len(state.processes) + 1} are up, from supervisor on")]
    assert of(findings, "in-force") == [("ok", "what runs was started with these settings")]
    assert of(findings, "gateway") == [("ok", f"{running.url} is ready")]
    assert of(findings, "ports")[0] == ("ok", f"GATEWAY_PORT {running.port} is this copy's own")
    assert of(findings, "workers")[0] == ("ok", "2 alive, 4 slots")
    (folder,) = of(findings, "redis-disk")
    assert str(running.var / "redis") in folder[1]


def test_workers_of_another_version_are_told(running: Copy) -> None:
    """Those of this copy say that they are `stand-in`."""
    _, findings = examined(running)
    others = [one for one in findings if one["check"] == "workers" and one["level"] == "warning"]
    assert len(others) == 2
    assert all("is version stand-in" in one["says"] and "restart" in one["remedy"] for one in others)


def test_settings_that_are_not_in_force_are_told(running: Copy) -> None:
    code, findings = examined(running, WORKER_PROCESSES="3", ACTIVE_MODEL_KEY="Local")
    found = amiss(findings, "in-force")
    assert found["says"] == "what runs was started with another the active model, another WORKER_PROCESSES"
    assert "restart" in found["remedy"]
    assert code == 0


def test_a_gateway_that_is_not_ready_is_told(running: Copy) -> None:
    os.kill(running.process("gateway-1").pid, signal.SIGSTOP)
    try:
        code, findings = examined(running)
    finally:
        os.kill(running.process("gateway-1").pid, signal.SIGCONT)
    assert "does not answer" in amiss(findings, "gateway")["says"]
    assert "logs gateway-1" in amiss(findings, "gateway")["remedy"]
    assert code == 1


def test_a_worker_that_has_died_is_told_though_another_took_its_place(running: Copy) -> None:
    old = running.process("worker-2").pid
    os.kill(old, signal.SIGKILL)
    until(lambda: running.process("worker-2").pid != old, "it is replaced")
    code, findings = examined(running)
    found = amiss(findings, "processes")
    assert found["says"].startswith("worker-2 has died 1 times")
    assert "logs worker-2" in found["remedy"]
    assert code == 0


def test_a_killed_system_is_told(running: Copy) -> None:
    """The last of the shared system's tests: it ends it."""
    state = running.state()
    os.kill(state.supervisor.pid, signal.SIGKILL)
    runstate.end_leftovers(state)
    code, findings = examined(running)
    found = amiss(findings, "processes")
    assert f"had the pid {state.supervisor.pid}); nothing of it is left" in found["says"]
    assert "manage.py start" in found["remedy"]
    assert code == 1

    running.manage("stop")
    code, findings = examined(running)
    assert of(findings, "processes") == [("ok", f"nothing runs from {running.var}")]
    assert code == 0


DEAD = runstate.ProcessRecord("supervisor", "supervisor", 2**22 + 1, 1.0)
"""A pid that Linux gives to nobody."""


def test_what_goes_on_without_its_supervisor_is_named(doctor: Doctor, sleeper: Sleeper, tmp_path: Path) -> None:
    """As outside Linux, where children do not end with it."""
    orphan = runstate.of_process("worker-1", "worker", sleeper(**{runstate.TOKEN_VARIABLE: "token"}).pid)
    var_dir = tmp_path / "var"
    var_dir.mkdir()
    runstate.write(var_dir, runstate.RunState("token", DEAD, "running", processes=(orphan,)))
    told = doctor()
    found = told.one("processes", "failure")
    assert f"(pid {DEAD.pid}) was killed, and worker-1 go on" in found["says"]
    assert "manage.py start" in found["remedy"]
    assert "`processes`" in told.one("ports", "ok")["says"]
    assert told.code == 1


def test_a_process_that_is_down_and_a_gateway_that_is_not_ready_are_failures(
    doctor: Doctor, sleeper: Sleeper, tmp_path: Path
) -> None:
    supervisor = runstate.of_process("supervisor", "supervisor", sleeper(**{runstate.TOKEN_VARIABLE: "token"}).pid)
    worker = dataclasses.replace(DEAD, name="worker-1", role="worker", ended="exit code 1")
    (tmp_path / "var").mkdir()
    answer = {"status": "not_ready", "checks": {"workers": {"ok": False, "detail": "None is alive."}}}
    with serving(503, json.dumps(answer)) as (url, _):
        state = runstate.RunState("token", supervisor, "running", gateway_url=url, processes=(worker,))
        runstate.write(tmp_path / "var", state)
        told = doctor()
    assert told.one("processes", "failure")["says"] == "worker-1 is down (exit code 1)"
    assert told.one("gateway", "failure")["says"] == f"{url}/ready answers 503: workers: None is alive."
    assert told.code == 1


def test_a_run_that_ended_by_itself_says_why(doctor: Doctor, tmp_path: Path) -> None:
    var_dir = tmp_path / "var"
    var_dir.mkdir()
    runstate.write(var_dir, runstate.RunState("token", DEAD, "failed", failure="the private Redis does not start"))
    told = doctor()
    assert "the private Redis does not start" in told.one("processes", "failure")["says"]
    assert told.code == 1
