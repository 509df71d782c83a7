"""`manage.py test`: what it runs, what it says of it, and how it ends. Small programs stand in for the tools."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from operations import commandline, runstate
from operations import test as command

from .conftest import ROOT, Sleeper, until

OK = (sys.executable, "-c", "print('all is well')")
WRONG = (sys.executable, "-c", "print('this is wrong'); raise SystemExit(3)")


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Every tool says that all is well."""
    monkeypatch.setattr(command, "QUICK", (("format", OK), ("lint", OK)))
    monkeypatch.setattr(command, "TYPES", OK)
    monkeypatch.setattr(command, "TESTS", OK)
    return monkeypatch


def said(capfd: pytest.CaptureFixture[str]) -> tuple[str, list[str]]:
    """Everything, and of the summary which step went how."""
    text = capfd.readouterr().out
    return text, [" ".join(line.split()[:2]) for line in text.partition("== summary\n")[2].splitlines()]


def test_all_is_well(tools: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert commandline.run("test", []) == 0
    assert said(capfd)[1] == ["ok format", "ok lint", "ok types", "ok tests"]


@pytest.mark.parametrize("tool", ["TYPES", "TESTS"])
def test_what_fails_is_told_and_the_rest_runs(
    tool: str, tools: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    tools.setattr(command, tool, WRONG)
    assert commandline.run("test", []) == 1
    text, summary = said(capfd)
    failed = tool.lower()
    expected = [f"{'FAILED' if name == failed else 'ok'} {name}" for name in ("types", "tests")]
    assert summary == ["ok format", "ok lint", *expected]
    assert "this is wrong" in text


def test_a_check_that_fails_keeps_no_test_from_running(
    tools: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    tools.setattr(command, "QUICK", (("lint", WRONG),))
    assert commandline.run("test", []) == 1
    assert said(capfd)[1] == ["FAILED lint", "ok types", "ok tests"]


def test_the_tests_run_in_several_processes_unless_told_otherwise(
    tools: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    tools.setattr(command, "TESTS", (sys.executable, "-c", "import sys; print('given', sys.argv[1:])"))
    commandline.run("test", [])
    assert "given ['-n', '" in said(capfd)[0]
    commandline.run("test", ["-k", "cancel", "-x"])
    text, summary = said(capfd)
    assert text == "given ['-k', 'cancel', '-x']\n"
    assert summary == []


def test_the_long_tests_run_alone_in_one_process_and_their_table_is_kept(
    tools: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    tools.setattr(command, "TESTS", (sys.executable, "-c", "import sys; print(*sys.argv[1:])"))
    tools.setenv("VAR_DIR", str(tmp_path))
    commandline.run("test", ["--long"])
    assert said(capfd)[0] == f"tests/long -v --report {tmp_path}/long-tests.md\n"
    commandline.run("test", ["--long", "--report", "table.md", "tests/long/test_kills.py", "-x"])
    assert said(capfd)[0] == f"-v --report {Path.cwd()}/table.md tests/long/test_kills.py -x\n"
    assert commandline.run("test", ["--report", "table.md"]) == 1
    assert "--report goes with --long" in capfd.readouterr().err


def test_nobody_runs_the_long_tests_unasked(request: pytest.FixtureRequest) -> None:
    assert not [item.nodeid for item in request.session.items if item.nodeid.startswith("tests/long/")]


def test_what_the_tests_leave_behind_is_ended_and_told(
    tools: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], sleeper: Sleeper
) -> None:
    """One in a session of its own, whose parent has gone, as a supervisor."""
    leave = (
        "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], "
        "start_new_session=True, stdout=subprocess.DEVNULL).pid)"
    )
    tools.setattr(command, "TESTS", (sys.executable, "-c", leave, "--"))
    neighbour = sleeper()
    assert commandline.run("test", ["-x"]) == 0
    out, errors = capfd.readouterr()
    until(lambda: runstate.has_ended(int(out)), "it has ended")
    assert errors.startswith(f"manage.py test: ended what the tests left behind: {int(out)} ")
    assert neighbour.poll() is None


# `manage.py test` with programs that last: the one in place of the tests counts its interrupts, and takes time to end.
LASTING = """
import sys
from operations import commandline, test
test.QUICK = ()
test.TYPES = (sys.executable, "-c", "import time; open('types', 'w').close(); time.sleep(600)")
test.TESTS = (sys.executable, "-c", '''
import signal, time
interrupts = []
signal.signal(signal.SIGINT, lambda *_: interrupts.append(1))
open("tests", "w").close()
while not interrupts:
    time.sleep(0.01)
time.sleep(0.3)
open("ended", "w").write(str(len(interrupts)))
''')
test.ROOT = sys.argv[1]
sys.exit(commandline.run("test", []))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_everything_and_the_tests_may_clean_up(tmp_path: Path, number: signal.Signals) -> None:
    """As a terminal's Ctrl-C comes: to the whole process group."""
    with subprocess.Popen(
        [sys.executable, "-c", LASTING, str(tmp_path)], cwd=ROOT, text=True, process_group=0,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as running:  # fmt: skip
        until(lambda: (tmp_path / "types").exists() and (tmp_path / "tests").exists(), "both run")
        until(lambda: psutil.Process(running.pid).status() == psutil.STATUS_SLEEPING, "it waits for them")
        os.killpg(running.pid, number)
        _, errors = running.communicate(timeout=30)
    assert running.returncode == 130
    assert errors == "manage.py test: interrupted.\n"
    assert (tmp_path / "ended").read_text() == "1"
