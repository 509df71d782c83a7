"""Copies beside each other, other people's Redis, and proxies that lead nowhere."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import redis

from operations.embedded_redis import find_server, server_arguments
from tests.conftest import RedisServer, free_port

from .conftest import System

PROXIES = {"one": "http", "two": "socks5"}
"""By the prefix of the system that is told of them."""


@pytest.fixture(scope="module")
def on_one_redis(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[dict[str, System]]:
    """Two, by prefix. The environment of each names proxies of one kind, which lead nowhere."""
    systems = {}
    with contextlib.ExitStack() as ending:
        for prefix, scheme in PROXIES.items():
            nowhere = f"{scheme}://127.0.0.1:{free_port()}"
            names = [name for upper in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY") for name in (upper, upper.lower())]
            systems[prefix] = System(
                tmp_path_factory.mktemp(prefix),
                REDIS_URL=redis_server.url,
                KEY_PREFIX=f"{prefix}:",
                WORKER_CONCURRENCY="2",
                **dict.fromkeys(names, nowhere),
            )
            ending.callback(systems[prefix].end)
            systems[prefix].start()
        yield systems


@pytest.mark.parametrize("prefix", PROXIES)
def test_loopback_never_goes_through_a_proxy(on_one_redis, prefix):
    system = on_one_redis[prefix]
    assert "18959" in system.ask("Compute (123 * 456 + 789) / 3")["result"]
    assert system.manage("ask", "Compute 1 + 1").returncode == 0
    assert system.manage("smoke").returncode == 0


def test_two_prefixes_on_one_redis_do_not_see_each_other(on_one_redis, redis_server):
    one, two = on_one_redis.values()
    tasks = [(one, one.submit("Compute 1 + 1")) for _ in range(10)] + [(two, two.submit("hello")) for _ in range(10)]
    for owner, task_id in tasks:
        assert owner.final(task_id)["status"] == "success"
        other = two if owner is one else one
        assert other.http.get(f"/task/{task_id}").status_code == 404
    with closing(redis.Redis.from_url(redis_server.url, decode_responses=True)) as client:
        names = set(client.scan_iter(count=1000))
    assert {name.split(":")[0] for name in names if name.startswith(("one:", "two:", "lh:"))} == {"one", "two"}
    assert one.manage("stop").returncode == 0
    with closing(redis.Redis.from_url(redis_server.url)) as client:
        assert client.ping()  # a Redis that was given is not ours to stop


def test_a_foreign_redis_at_the_usual_address_is_left_alone(make_system, tmp_path):
    """The copy's usual address is another than 6379, where the machine or another test may have something."""
    folder, port = tmp_path / "foreign", free_port()
    folder.mkdir()
    foreign = subprocess.Popen([str(find_server()), *server_arguments(port, folder)], stdout=subprocess.DEVNULL)
    try:
        system = make_system()
        settings = system.folder / "core_config.py"
        code = settings.read_text()
        assert code.count('"redis://127.0.0.1:6379/0"') == 1
        settings.write_text(code.replace("127.0.0.1:6379", f"127.0.0.1:{port}"))
        with closing(redis.Redis(port=port)) as client:
            until = time.monotonic() + 60
            while True:
                with contextlib.suppress(redis.ConnectionError):
                    client.dbsize()
                    break
                assert time.monotonic() < until
                time.sleep(0.05)
            # by this test, and by Valkey, which asks itself for its configuration as it starts
            before: Any = client.info("commandstats")
            system.start()
            assert system.ask("Compute 1 + 1")["status"] == "success"
            assert client.dbsize() == 0
            after: Any = client.info("commandstats")
        calls = {name: asked["calls"] - before.get(name, {"calls": 0})["calls"] for name, asked in after.items()}
        assert {name: count for name, count in calls.items() if count} == {"cmdstat_dbsize": 1, "cmdstat_info": 1}
    finally:
        foreign.terminate()
        foreign.wait()
