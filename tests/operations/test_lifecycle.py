"""start, stop and status on a real supervisor, a real Redis and stand-ins for the rest."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import psutil
import pytest
import redis

from operations import runstate
from taskstore.durability import PROMISES
from tests.conftest import RedisServer, free_port

from .conftest import Copy, Sleeper, until


def test_start_says_what_runs_and_stop_leaves_nothing(copy: Copy) -> None:
    said = copy.start()
    assert "SIMULATED" in said
    assert f"curl -s {copy.url}/task" in said
    pids = copy.pids()
    assert len(pids) == 5  # supervisor, redis, simulator, gateway, worker
    redis_url = copy.state().redis_url
    assert f"{redis_url} (private; {PROMISES['everysec']})" in said

    stopped = copy.manage("stop")
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert "Longhaul is stopped." in stopped.stdout
    assert all(map(runstate.has_ended, pids))
    assert sorted(path.name for path in copy.var.iterdir()) == ["kept.json", "logs", "prometheus", "redis"]
    assert not list((copy.var / "prometheus").iterdir())  # a Prometheus may watch it
    again = copy.manage("stop")
    assert (again.returncode, "not running" in again.stdout) == (0, True)
    with pytest.raises(redis.ConnectionError), redis.Redis.from_url(redis_url) as client:
        client.ping()


def test_start_says_what_a_redis_of_yours_promises(copy: Copy, redis_server: RedisServer) -> None:
    said = copy.start(REDIS_URL=redis_server.url, KEY_PREFIX="promise:")
    assert f"{redis_server.url} (yours; {PROMISES['everysec']})" in said


def test_starting_twice_starts_nothing(running_copy: Copy) -> None:
    before = running_copy.pids()
    again = running_copy.manage("start")
    assert again.returncode == 0
    assert "running already" in again.stdout
    assert running_copy.url in again.stdout
    assert running_copy.pids() == before


def test_two_starts_at_once_make_one(copy: Copy) -> None:
    done: list[subprocess.CompletedProcess[str]] = []
    threads = [threading.Thread(target=lambda: done.append(copy.manage("start"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = "".join(one.stdout + one.stderr for one in done)
    assert 0 in {one.returncode for one in done}, said
    assert "Traceback" not in said
    supervisors = [
        process.pid
        for process in psutil.process_iter(["cmdline", "environ"])
        if "operations.supervisor" in (process.info["cmdline"] or [])
        and (process.info["environ"] or {}).get("GATEWAY_PORT") == str(copy.port)
    ]
    assert supervisors == [copy.state().supervisor.pid]


def test_a_taken_port_names_its_holder_and_the_setting(copy: Copy) -> None:
    with socket.create_server(("127.0.0.1", copy.port)):
        started = copy.manage("start")
    assert started.returncode == 1
    assert f"port {copy.port} of 127.0.0.1 is taken by " in started.stderr
    assert f"pid {os.getpid()}" in started.stderr
    assert "GATEWAY_PORT" in started.stderr
    assert runstate.read(copy.var) is None


def test_a_stale_pid_file_of_another_program_is_harmless(copy: Copy, sleeper: Sleeper) -> None:
    """After a power cut: the file is there, and its pids are now other programs'."""
    bystander = sleeper()
    copy.var.mkdir()
    then = psutil.Process(bystander.pid).create_time() - 86_400
    record = runstate.ProcessRecord("worker-1", "worker", bystander.pid, then)
    stale = runstate.RunState("token", record, "running", processes=(record,))
    runstate.write(copy.var, stale)
    assert copy.manage("status").returncode == 3
    stopped = copy.manage("stop")
    assert (stopped.returncode, "not running" in stopped.stdout) == (0, True)
    runstate.write(copy.var, stale)
    copy.start()
    assert bystander.poll() is None


def test_a_killed_supervisor_takes_everything_along_and_blocks_no_start(copy: Copy) -> None:
    copy.start(WORKER_HAS_CHILD="1")
    state, pids = copy.state(), copy.pids()
    os.kill(state.supervisor.pid, signal.SIGKILL)
    until(lambda: all(map(runstate.has_ended, pids)), "the processes of a killed supervisor end")
    assert copy.manage("status").returncode == 3
    copy.start()
    assert copy.state().supervisor.pid != state.supervisor.pid


def test_leftovers_of_a_killed_supervisor_are_ended_and_nothing_else(copy: Copy, sleeper: Sleeper) -> None:
    """As on a system without the kernel's help: a process of ours goes on without its supervisor."""
    ours, foreign = sleeper(), sleeper()
    dead = runstate.ProcessRecord("supervisor", "supervisor", 2**22 - 1, 1.0)
    processes = (
        runstate.of_process("worker-1", "worker", ours.pid),
        runstate.ProcessRecord("worker-2", "worker", foreign.pid, 1.0),
    )
    copy.var.mkdir()
    runstate.write(copy.var, runstate.RunState("token", dead, "running", processes=processes))
    stopped = copy.manage("stop")
    assert "worker-1" in stopped.stdout
    assert "worker-2" not in stopped.stdout
    assert ours.wait(5) == -signal.SIGKILL
    assert foreign.poll() is None


def test_ctrl_c_during_start_stops_what_was_started(copy: Copy) -> None:
    command = [sys.executable, str(copy.folder / "manage.py"), "start"]
    environment = {**copy.environment, "GATEWAY_IS_NOT_READY": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as start:
        until(lambda: len(copy.pids()) == 5, "all is started")
        pids = copy.pids()
        start.send_signal(signal.SIGINT)
        _, errors = start.communicate(timeout=30)
    assert start.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    until(lambda: all(map(runstate.has_ended, pids)), "all that was started ends")
    assert runstate.read(copy.var) is None


def test_status_tells_people_and_programs_the_same(running_copy: Copy) -> None:
    told = running_copy.manage("status", "--json")
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    state = running_copy.state()
    assert report["ready"] is True
    assert report["problems"] == []
    assert (report["model"], report["simulated"]) == ("Simulator", True)
    assert report["gateway"] == running_copy.url
    assert report["redis"]["url"] == state.redis_url
    assert "fsync every second" in report["redis"]["durability"]
    assert {"queued", "running", "scheduled", "waiting", "dead"} <= report["queue"].keys()
    worker = running_copy.process("worker-1")
    assert [found["pid"] for found in report["workers"]] == [worker.pid]
    by_name = {found["name"]: found for found in report["processes"]}
    assert by_name.keys() == {"supervisor", "redis", "simulator", "gateway-1", "worker-1"}
    for found in by_name.values():
        assert found["alive"]
        assert found["memory_bytes"] > 1_000_000
        assert found["restarts"] == 0
        assert 0 <= found["uptime_s"] < 300

    shown = running_copy.manage("status")
    assert shown.returncode == 0
    for word in ("SIMULATED", state.redis_url, "worker-1", str(worker.pid), "0 queued"):
        assert word in shown.stdout


def test_var_dir_that_cannot_be_written_is_told(copy: Copy) -> None:
    (copy.folder / "file").write_text("")
    started = copy.manage("start", VAR_DIR="file/var")
    assert started.returncode == 1
    assert "VAR_DIR" in started.stderr
    assert "Traceback" not in started.stderr


def test_a_gateway_that_cannot_start_is_told_with_its_log(copy: Copy) -> None:
    started = copy.manage("start", GATEWAY_BREAKS="1")
    assert started.returncode == 1
    assert "gateway-1 does not stay up (exit code 1)" in started.stderr
    assert "breaks, as it was told to" in started.stderr
    assert "Traceback" not in started.stderr
    assert runstate.read(copy.var) is None


def test_a_down_worker_shows_and_bad_settings_keep_nobody_from_looking_or_stopping(copy: Copy) -> None:
    copy.start()
    (copy.folder / "worker" / "__main__.py").write_text("raise SystemExit('no worker any more')\n")
    os.kill(copy.process("worker-1").pid, signal.SIGKILL)
    until(lambda: copy.manage("status").returncode == 1, "status sees the dead worker")
    told = json.loads(copy.manage("status", "--json").stdout)
    assert any("worker-1 is down (exit code 1)" in problem for problem in told["problems"])
    models = copy.folder / "models.toml"
    models.write_text("[Half-A-Table", encoding="utf-8")
    bad = {"WORKER_PROCESSES": "many", "MODELS_FILE": str(models)}
    looked = copy.manage("status", "--json", **bad)
    assert looked.returncode == 1, looked.stderr
    told = json.loads(looked.stdout)
    assert told["simulated"] is None, "nobody knows"
    assert told["queue"]["queued"] == 0, "the store is read all the same"
    for what in ("worker-1 is down (exit code 1)", "WORKER_PROCESSES=many", str(models)):
        assert any(what in problem for problem in told["problems"]), what
    logs = copy.manage("logs", "worker", WORKER_PROCESSES="many")
    assert (logs.returncode, "no worker any more" in logs.stdout) == (0, True)
    stopped = copy.manage("stop", WORKER_PROCESSES="many")
    assert (stopped.returncode, "Longhaul is stopped." in stopped.stdout) == (0, True)


def test_a_second_copy_keeps_its_own_ports_and_data(running_copy: Copy, copy: Copy) -> None:
    port = free_port()
    copy.start(SIMULATOR_PORT=str(port), SIMULATOR_HOST="simulator.example")
    mine, other = copy.state(), running_copy.state()
    assert mine.redis_url != other.redis_url
    with redis.Redis.from_url(mine.redis_url) as client:
        client.set("kept", "yes")
    with redis.Redis.from_url(other.redis_url) as client:
        assert client.get("kept") is None
    environment = copy.get("/").json()["environment"]
    assert (environment["SIMULATOR_HOST"], environment["SIMULATOR_PORT"]) == ("127.0.0.1", str(port)), "its own one"
    assert environment["REDIS_URL"] == mine.redis_url
    assert environment["PYTHONUNBUFFERED"] == "1"
    assert {"127.0.0.1", "localhost", "::1"} <= set(environment["NO_PROXY"].split(","))

    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(copy.get("/slow").status_code))
    asking.start()
    gateway = psutil.Process(copy.process("gateway-1").pid)
    until(
        lambda: any(found.status == psutil.CONN_ESTABLISHED for found in gateway.net_connections("tcp")), "it is asked"
    )
    copy.manage("stop")
    asking.join()
    assert answers == [200]  # an answer that is under way is finished

    copy.start()
    assert copy.state().redis_url == mine.redis_url
    with redis.Redis.from_url(mine.redis_url) as client:
        assert client.get("kept") == b"yes"
    assert copy.manage("stop", "--now").returncode == 0
    with socket.create_server(("127.0.0.1", int(mine.redis_url.rpartition(":")[2].partition("/")[0]))):
        copy.start()
        assert copy.state().redis_url != mine.redis_url
    assert running_copy.get("/ready").status_code == 200
