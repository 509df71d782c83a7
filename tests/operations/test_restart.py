"""A rolling restart: new settings, no refused connection, and a bad successor changes nothing."""

import os
import threading

import httpx

from tests.conftest import RedisServer, free_port

from .conftest import Copy


def pids(copy: Copy) -> dict[str, int]:
    return {record.name: record.pid for record in copy.state().processes}


def test_restart_replaces_all_but_redis_takes_new_settings_and_refuses_nobody(copy: Copy) -> None:
    # a VAR_DIR that is too long for a socket's path: the restart goes through one in it
    copy.var = copy.folder / ("d" * 100) / ("e" * 100)
    copy.environment["VAR_DIR"] = str(copy.var)
    copy.start()
    before, simulator_port = pids(copy), copy.state().simulator_port
    stop = threading.Event()
    answers: list[int | str] = []

    def ask() -> None:
        with httpx.Client(trust_env=False, timeout=15) as client:
            while not stop.wait(0.01):
                try:
                    answers.append(client.get(copy.url + "/pid").json()["pid"])
                except httpx.HTTPError as error:
                    answers.append(repr(error))

    asking = threading.Thread(target=ask)
    asking.start()
    (copy.folder / ".env").write_text("WORKER_PROCESSES=2\n")
    done = copy.manage("restart", AGENT_MAX_ITERATIONS="3")
    stop.set()
    asking.join()
    assert done.returncode == 0, done.stderr
    after = pids(copy)
    assert after.keys() == {"redis", "simulator", "gateway-1", "worker-1", "worker-2"}
    assert after["redis"] == before["redis"]
    assert not {pid for name, pid in after.items() if name != "redis"} & set(before.values())
    assert all(record.restarts == 0 for record in copy.state().processes)
    assert [answer for answer in answers if isinstance(answer, str)] == []
    assert set(answers) == {before["gateway-1"], after["gateway-1"]}
    assert copy.get("/").json()["environment"]["AGENT_MAX_ITERATIONS"] == "3"
    assert copy.state().simulator_port == simulator_port  # the old workers know it there until they end

    (copy.folder / ".env").unlink()
    old, copy.port = copy.url, free_port()
    copy.url = f"http://127.0.0.1:{copy.port}"
    copy.environment["GATEWAY_PORT"] = str(copy.port)
    moved = free_port()
    done = copy.manage("restart", SIMULATOR_PORT=str(moved))
    assert done.returncode == 0, done.stderr
    assert "the old simulator: stopped" in done.stdout.splitlines()[-2]
    assert copy.state().simulator_port == moved
    assert pids(copy).keys() == {"redis", "simulator", "gateway-1", "worker-1"}
    assert copy.get("/ready").status_code == 200
    assert copy.state().gateway_url == copy.url
    assert "AGENT_MAX_ITERATIONS" not in copy.get("/").json()["environment"]
    try:
        httpx.get(old + "/ready", trust_env=False)
    except httpx.ConnectError:
        pass
    else:
        raise AssertionError("the old port still answers")


def test_a_restart_that_cannot_succeed_changes_nothing(running_copy: Copy) -> None:
    before = pids(running_copy)
    bad = running_copy.manage("restart", WORKER_PROCESSES="none")
    assert bad.returncode == 1
    assert "WORKER_PROCESSES=none" in bad.stderr
    assert pids(running_copy) == before

    taken = free_port()
    breaks = running_copy.manage("restart", GATEWAY_BREAKS="1", GATEWAY_PORT=str(taken))
    assert breaks.returncode == 1
    assert "the new gateway-1 does not come up (exit code 1)" in breaks.stderr
    assert "breaks, as it was told to" in breaks.stderr
    del before["simulator"]  # it comes first, and nothing stands on it being the old one
    assert {name: pid for name, pid in pids(running_copy).items() if name != "simulator"} == before
    assert running_copy.get("/ready").status_code == 200
    assert running_copy.state().gateway_url == running_copy.url


def test_a_restart_of_what_does_not_run_is_a_start_and_another_redis_a_stop_and_a_start(
    copy: Copy, redis_server: RedisServer
) -> None:
    done = copy.manage("restart")
    assert done.returncode == 0, done.stderr
    supervisor = copy.state().supervisor.pid
    done = copy.manage("restart", REDIS_URL=redis_server.url, KEY_PREFIX=f"t{os.getpid()}:")
    assert done.returncode == 0, done.stderr
    assert copy.state().supervisor.pid != supervisor
    assert pids(copy).keys() == {"simulator", "gateway-1", "worker-1"}
    assert copy.get("/").json()["environment"]["REDIS_URL"] == redis_server.url
    assert copy.manage("stop").returncode == 0
    assert redis_server.process
    assert redis_server.process.poll() is None  # somebody else's Redis is left alone
