"""What settings of a process change, seen from outside: two real gateways with other values."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from core_config import ROOT
from tests.conftest import RedisServer, free_port

OTHER_LOOPBACK = "127.0.0.2"


@dataclass(frozen=True)
class Running:
    host: str
    port: int
    log: Path

    def submit(self, message: str | None = None, **body: object) -> int:
        url = f"http://{self.host}:{self.port}/task"
        body = body if message is None else {"message": message}
        return httpx.post(url, json=body, trust_env=False, timeout=20).status_code

    def answers_at(self, host: str) -> bool:
        try:
            return httpx.get(f"http://{host}:{self.port}/health", trust_env=False, timeout=20).status_code == 200
        except httpx.ConnectError:
            return False


@pytest.fixture(scope="module")
def gateways(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Running]]:
    folder = tmp_path_factory.mktemp("gateways")
    settings = [
        {"GATEWAY_HOST": "127.0.0.1", "MAX_MESSAGE_CHARS": "5", "MAX_INPUT_BYTES": "11", "LOG_LEVEL": "INFO"},
        {"GATEWAY_HOST": OTHER_LOOPBACK if can_bind(OTHER_LOOPBACK) else "127.0.0.1",
         "MAX_MESSAGE_CHARS": "7", "MAX_INPUT_BYTES": "13", "LOG_LEVEL": "WARNING"},
    ]  # fmt: skip
    running, processes = [], []
    try:
        for number, one in enumerate(settings):
            port, log = free_port(), folder / f"{number}.log"
            base = {"PATH": os.environ["PATH"], "REDIS_URL": redis_server.url, "KEY_PREFIX": "process:"}
            with log.open("wb") as out:
                command, environment = [sys.executable, "-m", "gateway"], {**base, "GATEWAY_PORT": str(port), **one}
                processes.append(
                    subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT)
                )
            running.append(Running(one["GATEWAY_HOST"], port, log))
        until = time.monotonic() + 120
        while not all(one.answers_at(one.host) for one in running):
            assert [process.poll() for process in processes] == [None, None]
            assert time.monotonic() < until
            time.sleep(0.02)
        yield running
    finally:
        for process in processes:
            process.kill()
            process.wait()


def can_bind(host: str) -> bool:
    """Linux has all of 127.0.0.0/8, macOS only its first."""
    with socket.socket() as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


@pytest.mark.skipif(not can_bind(OTHER_LOOPBACK), reason="this machine has one loopback address only")
def test_a_gateway_listens_where_it_is_told(gateways: list[Running]) -> None:
    """GATEWAY_HOST and GATEWAY_PORT: there, and nowhere else."""
    answers = [[one.answers_at(host) for host in ("127.0.0.1", OTHER_LOOPBACK)] for one in gateways]
    assert answers == [[True, False], [False, True]]


def test_a_message_may_be_as_long_as_the_setting_says(gateways: list[Running]) -> None:
    """MAX_MESSAGE_CHARS 5 and 7."""
    assert [[one.submit("é" * length) for length in (5, 6, 7, 8)] for one in gateways] == [
        [200, 422, 422, 422],
        [200, 200, 200, 422],
    ]


def test_an_input_may_be_as_large_as_the_setting_says(gateways: list[Running]) -> None:
    """MAX_INPUT_BYTES 11 and 13, of the compact JSON in UTF-8."""
    inputs = [{"a": "é" * (length // 2)} for length in (2, 4, 6)]
    assert [[one.submit(input=given) for given in inputs] for one in gateways] == [[200, 422, 422], [200, 200, 422]]


def test_a_log_is_as_talkative_as_the_setting_says(gateways: list[Running]) -> None:
    """LOG_LEVEL INFO and WARNING."""
    talkative, quiet = [one.log.read_text() for one in gateways]
    assert " INFO gateway[" in talkative
    assert quiet == ""
