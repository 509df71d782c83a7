"""`manage.py doctor` on a Redis that is well, and on one that is broken in each of the ways that it can be."""

import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core_config import VERSION, Settings
from operations import redis_check
from operations.doctor_checks import of_redis, of_store
from operations.doctor_checks.finding import Level
from taskstore.claims import Settlement
from taskstore.records import NewTask, WorkerInfo
from taskstore.store import TaskStore
from tests.conftest import RedisServer, free_port
from tests.stumbles.redis_process import StumblingRedis, until

from .doctor_runs import LOCAL, Doctor, Told

OnRedis = Callable[..., Told]
MODELS = {"Simulator": None}


@pytest.fixture
def on_redis(doctor: Doctor, settings: Settings) -> OnRedis:
    """On the tests' shared Redis, under this test's own prefix."""

    def run(*arguments: str, **environment: str) -> Told:
        shared = {"REDIS_URL": settings.redis_address, "KEY_PREFIX": settings.key_prefix, **environment}
        return doctor(*arguments, **{"ACTIVE_MODEL_KEY": "Simulator", **shared})

    return run


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[StumblingRedis]:
    """A Redis of the test's own."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = StumblingRedis(folder)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def filled(store: TaskStore) -> TaskStore:
    """One task runs, one waits, of an agent that can be run."""
    await store.report("w1", {"default": None})
    for number in (1, 2):
        await store.submit(NewTask(task_id=f"{number:032x}", caller="alice", message="m", model="Simulator"))
    await store.claim("w1", 1, room=1, extra=0, models=MODELS)
    return store


def a_worker(version: str = VERSION, name: str = "w1") -> WorkerInfo:
    return WorkerInfo(name, "host", 1, version, 50, 0)


async def test_a_redis_with_a_worker_is_well_and_every_check_is_made(on_redis: OnRedis, filled: TaskStore) -> None:
    await filled.renew(a_worker(), [])
    told = on_redis()
    assert {finding["check"] for finding in told.findings} == set(LOCAL)
    assert not [one for one in told.amiss() if one[0] not in ("disk", "redis-disk", "redis-latency", "packages")]
    assert told.code == 0
    assert told.one("workers", "ok")["says"] == "1 alive, 50 slots"
    assert told.one("queue", "ok")["says"].startswith("1 ready, 1 running, 0 for later")
    assert told.one("agents", "ok")["says"].endswith("default")
    assert "append-only" in told.one("redis-persistence", "ok")["says"]
    assert told.one("redis-latency", "ok")["took_ms"] > 0


def test_a_redis_that_evicts(doctor: Doctor, broken: StumblingRedis) -> None:
    broken.client.config_set("maxmemory-policy", "allkeys-lru")
    told = doctor(REDIS_URL=broken.url)
    found = told.one("redis-eviction", "failure")
    assert "allkeys-lru" in found["says"]
    assert "CONFIG SET maxmemory-policy noeviction" in found["remedy"]
    assert told.code == 1


def test_a_redis_without_an_append_only_file(doctor: Doctor, broken: StumblingRedis) -> None:
    broken.client.config_set("appendonly", "no")
    told = doctor(REDIS_URL=broken.url)
    assert "no append-only file" in told.one("redis-persistence", "warning")["says"]
    assert "appendonly yes" in told.one("redis-persistence", "warning")["remedy"]
    assert told.code == 0


def test_a_redis_whose_disk_is_full(doctor: Doctor, broken: StumblingRedis) -> None:
    def noticed() -> bool:
        try:
            broken.client.set("k", "v" * 1000)
        except Exception as error:  # noqa: BLE001  whatever it says, INFO has it
            assert "MISCONF" in str(error)  # noqa: PT017  the fault that was made
        info: Any = broken.client.info("persistence")
        return bool(info["aof_last_write_status"] != "ok")

    with broken.full_disk():
        until(noticed, "Redis notices")
        told = doctor(REDIS_URL=broken.url)
    found = told.one("redis-persistence", "failure")
    assert "its append-only file" in found["says"]
    assert "df -h" in found["remedy"]
    assert told.code == 1


@pytest.mark.parametrize(("part", "level"), [(0.5, "ok"), (0.8, "warning"), (0.95, "failure")])
def test_a_redis_that_fills_up(part: float, level: str, doctor: Doctor, broken: StumblingRedis) -> None:
    broken.client.setrange("ballast", 50_000_000, "x")  # beside which what the doctor itself takes is nothing
    info: Any = broken.client.info("memory")
    broken.client.config_set("maxmemory", str(int(info["used_memory"] / part)))
    told = doctor(REDIS_URL=broken.url)
    found = told.one("redis-memory", level)
    assert " of " in found["says"]
    assert told.code == (level == "failure")


def test_a_replica(doctor: Doctor, broken: StumblingRedis) -> None:
    broken.client.replicaof("127.0.0.1", str(free_port()))
    told = doctor(REDIS_URL=broken.url)
    assert "read-only replica" in told.one("redis-role", "failure")["says"]
    assert "primary" in told.one("redis-role", "failure")["remedy"]


def test_a_redis_that_is_not_there(doctor: Doctor) -> None:
    told = doctor(REDIS_URL=f"redis://:pw-of-redis@127.0.0.1:{free_port()}/0")
    found = told.one("redis", "failure")
    assert "refused" in found["says"]
    assert "Start that Redis" in found["remedy"]
    assert "pw-of-redis" not in told.text
    assert not told.of("workers"), "nothing is known of what is in it"
    assert told.of("disk"), "and the rest is looked at"
    assert told.code == 1


def test_an_address_of_no_redis(doctor: Doctor) -> None:
    assert "redis://" in doctor(REDIS_URL="127.0.0.1:6379").one("redis", "failure")["remedy"]


def test_a_redis_that_hangs_holds_up_nothing_else(doctor: Doctor, broken: StumblingRedis) -> None:
    broken.signal(signal.SIGSTOP)
    told = doctor(REDIS_URL=broken.url)
    assert "no answer within 3 s" in told.one("redis", "failure")["says"]
    assert told.of("langfuse")
    assert told.of("disk")
    assert told.code == 1


def test_a_wrong_password_and_too_few_rights(doctor: Doctor, broken: StumblingRedis) -> None:
    broken.client.acl_setuser("ops", enabled=True, passwords=["+right-pw"], commands=["+ping"])
    host = broken.url.removeprefix("redis://")
    told = doctor(REDIS_URL=f"redis://ops:wrong-pw@{host}")
    assert "refuses the password" in told.one("redis", "failure")["says"]
    assert "wrong-pw" not in told.text
    poor = doctor(REDIS_URL=f"redis://ops:right-pw@{host}")
    assert "may not run" in poor.one("redis", "failure")["says"]
    assert "more rights" in poor.one("redis", "failure")["remedy"]
    rights = ["+@read", "+info", "+time", "+echo", "+ping"]
    broken.client.acl_setuser("ops", enabled=True, passwords=["+right-pw"], commands=rights, keys=["*"])
    unscripted = doctor(REDIS_URL=f"redis://ops:right-pw@{host}")
    assert "rights to run scripts" in unscripted.one("queue", "failure")["remedy"]
    assert "right-pw" not in poor.text + unscripted.text


def test_a_redis_that_loads_is_told_and_not_waited_for(doctor: Doctor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                while connection.recv(4096):
                    # the client names itself before it asks
                    connection.sendall(b"-LOADING Redis is loading the dataset in memory\r\n" * 3)

        threading.Thread(target=answer, daemon=True).start()
        told = doctor(REDIS_URL=f"redis://127.0.0.1:{listener.getsockname()[1]}/0")
    assert "loading its data" in told.one("redis", "failure")["says"]


async def test_no_worker_while_tasks_wait(on_redis: OnRedis, store: TaskStore) -> None:
    assert on_redis().one("workers", "ok")["says"] == "none is alive, and nothing waits for one"
    await store.submit(NewTask(task_id="1" * 32, caller="alice", message="m", model="Simulator"))
    told = on_redis()
    assert "1 tasks wait" in told.one("workers", "failure")["says"]
    assert "manage.py start" in told.one("workers", "failure")["remedy"]
    assert told.code == 1


async def test_a_worker_of_another_version(on_redis: OnRedis, store: TaskStore) -> None:
    for worker in (a_worker(), a_worker("0.0.7", "old")):
        await store.renew(worker, [])
    told = on_redis()
    found = told.one("workers", "warning")
    assert found["says"] == f"old on host is version 0.0.7, this is {VERSION}"
    assert "restart" in found["remedy"]
    assert told.one("workers", "ok")["says"] == "2 alive, 100 slots"


async def test_an_agent_that_cannot_be_run(on_redis: OnRedis, store: TaskStore) -> None:
    await store.report("w1", {"default": None, "mine": "mine.py, line 3: no module named 'x'"})
    told = on_redis()
    assert "mine.py, line 3" in told.one("agents", "failure")["says"]
    assert told.code == 1


async def test_a_full_queue(on_redis: OnRedis, filled: TaskStore) -> None:
    await filled.renew(a_worker(), [])
    told = on_redis(QUEUE_MAX_DEPTH="1")
    assert "full: 1 of 1" in told.one("queue", "failure")["says"]
    assert "QUEUE_MAX_DEPTH" in told.one("queue", "failure")["remedy"]


async def test_what_waits_for_an_operator(on_redis: OnRedis, filled: TaskStore) -> None:
    """A dead letter, a pause, and a model that was left alone."""
    await filled.renew(a_worker(), [])
    await filled.settle([Settlement(task_id=f"{1:032x}", fence=1, kind="bury", error_code="internal", error="why")])
    await filled.pause("agent", "default")
    await filled.redis.hset(filled.keys.gates(), "GPT|cooling", "0 1 provider_auth")  # type: ignore[misc]  # redis-py's types
    told = on_redis()
    found = {finding["says"]: finding["remedy"] for finding in told.of("queue") if finding["level"] == "warning"}
    assert "manage.py dead list" in found["1 dead letters"]
    assert any("resume --agent default" in remedy for remedy in found.values())
    assert "models test GPT" in found["model GPT cools down after failing (provider_auth)"]
    assert told.code == 0


async def test_a_prefix_that_another_program_uses(on_redis: OnRedis, filled: TaskStore, settings: Settings) -> None:
    await filled.redis.set(f"{settings.key_prefix}sidekiq:queue", "x")
    told = on_redis()
    found = told.one("key-prefix", "warning")
    assert "sidekiq:queue" in found["says"]
    assert "KEY_PREFIX" in found["remedy"]


async def test_a_prefix_that_a_newer_version_writes_to(on_redis: OnRedis, filled: TaskStore) -> None:
    await filled.redis.hset(filled.keys.task(f"{2:032x}"), "v", "99")  # type: ignore[misc]  # redis-py's types
    told = on_redis()
    assert "version 99" in told.one("key-prefix", "failure")["says"]
    assert told.code == 1


async def test_a_prefix_is_taken_literally(doctor: Doctor, settings: Settings, store: TaskStore) -> None:
    """As a pattern, this one would match its neighbour's keys."""
    await store.redis.set(f"{settings.key_prefix}sidekiq", "x")
    told = doctor(REDIS_URL=settings.redis_address, KEY_PREFIX=f"{settings.key_prefix[:-1]}?")
    assert told.one("key-prefix", "ok")


async def test_a_store_that_breaks_its_own_rules(on_redis: OnRedis, filled: TaskStore) -> None:
    await filled.renew(a_worker(), [])
    assert on_redis().one("audit", "ok")
    await filled.redis.zrem(filled.keys.live(), f"{2:032x}")
    told = on_redis()
    assert "is not in live" in told.one("audit", "failure")["says"]
    assert told.code == 1


async def test_too_many_keys_are_not_audited(
    on_redis: OnRedis, filled: TaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis would do nothing else meanwhile."""
    monkeypatch.setattr(of_store, "AUDITED_KEYS", 1)
    await filled.redis.zrem(filled.keys.live(), f"{2:032x}")
    assert on_redis().one("audit", "ok")["says"].startswith("not done")


def test_the_private_redis_of_a_machine_without_one(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("operations.embedded_redis.bundled_server", lambda: None)
    told = doctor()
    assert "no redis-server" in told.one("redis", "failure")["says"]
    assert "apt install redis-server" in told.one("redis", "failure")["remedy"]


def test_what_makes_a_redis_slow_or_its_clock_wrong() -> None:
    assert of_redis.latency([1.0, 2.0, 900.0]).level is Level.OK, "one hiccup is none"
    slow = of_redis.latency([60.0, 80.0, 90.0])
    assert slow.level is Level.WARNING
    assert "p50 80.0 ms, max 90.0 ms" in slow.says
    assert of_redis.clock(1.0, 0.0).level is Level.OK
    assert of_redis.clock(-3.0, 1.5).level is Level.OK, "it may be the round trip"
    ahead, behind = of_redis.clock(-60.0, 0.1), of_redis.clock(60.0, 0.1)
    assert {ahead.level, behind.level} == {Level.WARNING}
    assert "60 s ahead of Redis's" in ahead.says
    assert "60 s behind Redis's" in behind.says
    assert "NTP" in ahead.remedy


def test_memory_without_a_limit_is_held_to_the_machine_s() -> None:
    machine = {"total_system_memory": 1_000_000_000, "maxmemory": 0}
    assert of_redis.memory({**machine, "used_memory": 500_000_000}).level is Level.OK
    assert of_redis.memory({**machine, "used_memory": 700_000_000}).level is Level.WARNING


@pytest.mark.usefixtures("redis_server")
def test_the_disk_under_redis_is_looked_at_where_it_is_this_machine_s(
    on_redis: OnRedis, redis_server: RedisServer
) -> None:
    (found,) = on_redis().of("redis-disk")
    assert str(redis_server.folder) in found["says"]
    assert found["level"] == "ok"


def test_too_little_room_for_a_rewrite_of_redis_s_file_is_a_warning(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(redis_server.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with redis_check.connect(redis_server.url) as client:
        found = of_redis._disk(client, client.info())
    assert (found.level, str(redis_server.folder) in found.says) == (Level.WARNING, True)
