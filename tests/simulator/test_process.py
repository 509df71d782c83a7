"""The process: starting, a port that is taken, stopping."""

import signal
import socket
import subprocess
import sys

import pytest

from tests.simulator.server import ROOT, Server, hanging, running


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loadtest.simulator", *options], cwd=ROOT, capture_output=True, text=True, timeout=20
    )


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("--port", str(port))
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert f"127.0.0.1:{port}" in ended.stderr
    assert "in use" in ended.stderr
    assert "--port" in ended.stderr


@pytest.mark.parametrize("options", [("--port", "99999"), ("--host", "203.0.113.7", "--port", "0")])
def test_an_address_that_cannot_be_is_one_clear_line(options: tuple[str, ...]) -> None:
    ended = run(*options)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "cannot listen on" in ended.stderr


@pytest.mark.parametrize(
    "options", [("--latency", "-1"), ("--latency", "soon"), ("--journal-size", "0"), ("--nonsense",)]
)
def test_wrong_options_are_refused(options: tuple[str, ...]) -> None:
    ended = run(*options)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    with running() as server:
        assert server.post("Hi").status_code == 200
        server.process.send_signal(number)
        assert server.process.wait(timeout=10) == 0


def test_a_signal_ends_it_though_calls_hang() -> None:
    with running() as server, hanging(server, "forever", calls=3):
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=10) == 0


def test_its_port_is_free_again_at_once() -> None:
    with running() as server:
        port = server.root.rpartition(":")[2]
        server.post("Hi")
    with running("--port", port) as again:
        assert again.root.endswith(f":{port}")
        assert again.post("Hi").status_code == 200


def test_it_imports_nothing_of_ours() -> None:
    """A black box: whatever Longhaul's own modules do, they must not be part of the witness."""
    code = (
        "import sys, loadtest.simulator.__main__; "
        "print(sorted({name.partition('.')[0] for name in sys.modules} & "
        "{'gateway', 'worker', 'agent', 'monitoring', 'taskstore', 'operations', 'core_config', 'fastapi', 'litellm'}))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert ended.stdout.strip() == "[]", ended.stderr


def test_it_keeps_answering_while_others_wait(simulator: Server) -> None:
    with hanging(simulator, "waiting", calls=50):
        assert simulator.post("now").status_code == 200
        assert simulator.journal()["counters"]["running"] == 50
