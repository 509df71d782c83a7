"""manage.py itself: wrong usage, help, old Pythons."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import manage
from operations import commandline

from .conftest import ROOT, Copy


@pytest.mark.parametrize("arguments", [["fly"], []])
def test_without_a_command_that_exists_it_lists_them(copy: Copy, arguments: list[str]) -> None:
    done = copy.manage(*arguments)
    assert done.returncode == 2
    assert "  start " in done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["start", "--fast"], ["stop", "extra"], ["keys"], ["keys", "new"], ["cost", "--by", "x"], ["ask"],
     ["ask", "hi", "--input", "{}"],
     ["cost", "--since", "yesterday"], ["cost", "--since", "0d"], ["logs", "-n", "many"], ["status", "--js"],
     ["why"], ["tasks", "--status", "done"], ["tasks", "--limit", "0"], ["tasks", "--since", "1 fortnight"],
     ["tasks", "--metadata", "order"]],
)  # fmt: skip
def test_wrong_usage_exits_2_and_says_what_is_right(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        commandline.run(arguments[0], arguments[1:])
    assert exit_.value.code == 2
    assert f"usage: manage.py {arguments[0]}" in capsys.readouterr().err


def test_every_command_has_a_file_and_a_help(copy: Copy) -> None:
    overview = copy.manage("--help")
    assert overview.returncode == 0
    for name, summary in manage.COMMANDS:
        assert (ROOT / "operations" / f"{name}.py").exists()
        assert summary in overview.stdout
    helped = copy.manage("stop", "--help")
    assert (helped.returncode, "DRAIN_SECONDS" in helped.stdout) == (0, True)


def test_commands_that_need_a_running_system_say_how_to_start_it(copy: Copy) -> None:
    for arguments in (["ask", "hello"], ["smoke"], ["cost"], ["tasks"], ["why", "x"]):
        done = copy.manage(*arguments)
        assert done.returncode == 1, arguments
        assert "manage.py start" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    status = copy.manage("status", "--json")
    assert (status.returncode, status.stdout) == (3, '{"running": false}\n')


def test_manage_parses_on_python_3_8() -> None:
    ast.parse((ROOT / "manage.py").read_text(), feature_version=(3, 8))


def test_an_old_python_says_what_is_needed_or_finds_a_newer_one(tmp_path: Path) -> None:
    """The file is run with a `sys.version_info` of old, which is all that it looks at before it says so."""
    program = (
        "import sys, runpy; sys.version_info = (3, 8, 18); sys.argv = ['manage.py', '--help'];"
        f"runpy.run_path({str(ROOT / 'manage.py')!r}, run_name='__main__')"
    )
    alone = subprocess.run(
        [sys.executable, "-c", program], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert alone.returncode == 1
    assert alone.stderr == "Longhaul needs Python 3.11 or newer; this is 3.8.18, and the PATH holds no newer one.\n"

    (tmp_path / "python3.12").write_text("#!/bin/sh\nexit 127\n")  # a version manager's stand-in that cannot run
    (tmp_path / "python3.12").chmod(0o755)
    (tmp_path / "python3").symlink_to(sys.executable)
    found = subprocess.run(
        [sys.executable, "-c", program], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert (found.returncode, "usage: python3 manage.py" in found.stdout) == (0, True), found.stderr


def test_a_reader_that_has_seen_enough_is_no_fault(copy: Copy) -> None:
    folder = copy.var / "logs"
    folder.mkdir(parents=True)
    (folder / "worker-1.log").write_text("line\n" * 50_000)
    read, write = os.pipe()
    os.close(read)
    with subprocess.Popen(
        [sys.executable, str(copy.folder / "manage.py"), "logs", "-n", "50000"],
        env=copy.environment, stdout=write, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        os.close(write)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
