"""The state file: written whole, read with suspicion."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from operations import runstate

from .conftest import until


def test_what_is_written_is_read(tmp_path: Path) -> None:
    me = runstate.of_process("supervisor", "supervisor", os.getpid())
    state = runstate.RunState("token", me, "running", model="Simulator", processes=(me, me))
    runstate.write(tmp_path, state)
    assert runstate.read(tmp_path) == state
    assert runstate.running(tmp_path) == state
    runstate.forget(tmp_path)
    assert runstate.read(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"processes": 3}', '{"token": "x", "processes": []}', "\0\0"])
def test_a_file_that_a_power_cut_spoilt_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    assert runstate.read(tmp_path) is None
    assert runstate.running(tmp_path) is None


def test_the_token_knows_a_process_when_the_clock_was_set() -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(sleep, env={**os.environ, runstate.TOKEN_VARIABLE: "mine"}) as process:
        record = runstate.ProcessRecord("worker-1", "worker", process.pid, 1.0)
        until(lambda: runstate.is_ours(record, "mine"), "the new program's environment is there")
        assert not runstate.is_ours(record, "another run's")
        process.kill()
        until(lambda: not runstate.is_ours(record, "mine"), "a process that has ended is nobody's")
