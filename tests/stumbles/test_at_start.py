"""What Redis promises is said at start, in words; and one that would throw tasks away is used by nobody."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from core_config import ROOT
from longhaul_testing.ports import free_port
from operations import start
from taskstore.durability import NO_FILE, PROMISES, UNKNOWN, look

from .conftest import Stumbling
from .redis_process import StumblingRedis

PAGE = (ROOT / "docs" / "redis.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StumblingRedis]:
    server = StumblingRedis(tmp_path_factory.mktemp("promises"))
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("fsync", PROMISES)
async def test_the_mode_in_force_is_said_as_the_page_says_it(server: StumblingRedis, fsync: str) -> None:
    server.client.config_set("appendfsync", fsync)
    assert start._durability(server.url) == PROMISES[fsync]
    async with Redis.from_url(server.url, decode_responses=True) as client:
        assert (await look(client)).promise == PROMISES[fsync]
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{fsync}` |")]
    assert PROMISES[fsync] in row


async def test_a_managed_redis_that_forbids_config_works_and_says_that_it_is_not_known(server: StumblingRedis) -> None:
    server.client.acl_setuser("managed", enabled=True, passwords=["+p"], commands=["+@all", "-config"], keys=["*"])
    url = server.url.replace("//", "//managed:p@")
    assert start._durability(url) == UNKNOWN
    async with Redis.from_url(url, decode_responses=True) as client:
        found = await look(client)
    assert (found.promise, found.refusal) == (UNKNOWN, "")
    assert UNKNOWN in PAGE


def test_without_an_append_only_file_that_is_what_is_said(server: StumblingRedis) -> None:
    server.client.config_set("appendonly", "no")
    try:
        assert start._durability(server.url) == NO_FILE
    finally:
        server.client.config_set("appendonly", "yes")
    assert NO_FILE in PAGE


def test_a_gateway_that_is_started_by_hand_refuses_a_redis_that_evicts(server: StumblingRedis, tmp_path: Path) -> None:
    """Also while no memory limit is set. Of the worker that is shown in tests/troubleshooting."""
    server.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        gateway = subprocess.run(
            [sys.executable, "-m", "gateway"],
            cwd=ROOT,
            env={"REDIS_URL": server.url, "GATEWAY_PORT": str(free_port()), "VAR_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=120,
        )
    finally:
        server.client.config_set("maxmemory-policy", "noeviction")
    assert gateway.returncode == 2
    assert "maxmemory-policy allkeys-lru" in gateway.stderr.splitlines()[-1]


def test_processes_log_what_their_redis_promises(stumbling: Stumbling) -> None:
    for process in ("gateway", "worker"):
        (line,) = [line for line in stumbling.said(process).splitlines() if " redis version=" in line]
        assert PROMISES["everysec"] in line
