"""manage.py logs: merged by time, followed across a rotation."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from operations import logs

from .conftest import Copy, until


def test_lines_of_all_processes_are_merged_by_their_times(copy: Copy) -> None:
    folder = copy.var / "logs"
    folder.mkdir(parents=True)
    (folder / "gateway-1.log").write_text(
        "2026-11-21T10:00:01.500Z INFO first\n"
        "2026-11-21T10:00:03.000Z ERROR third\n"
        "Traceback (most recent call last):\n"
        "  of the third\n"
        "2026-11-21T10:00:05Z INFO last\n"
    )
    (folder / "worker-1.log").write_text(
        "2026-11-21T11:00:02+01:00 INFO second\n2026-11-21 10:00:04,250Z INFO fourth\n"
    )
    shown = copy.manage("logs")
    assert shown.returncode == 0
    assert [line.split("|")[1].split()[-1] for line in shown.stdout.splitlines()] == [
        "first", "second", "third", "last):", "third", "fourth", "last"
    ]  # fmt: skip
    assert shown.stdout.startswith("gateway-1    | 2026-11-21T10:00:01.500Z INFO first\n")
    assert copy.manage("logs", "-n", "1").stdout == "gateway-1    | 2026-11-21T10:00:05Z INFO last\n"
    assert copy.manage("logs", "worker").stdout.count("\n") == 2
    none = copy.manage("logs", "redis")
    assert none.returncode == 1
    assert "gateway-1, worker-1" in none.stderr


def test_without_logs_it_says_how_to_get_some(copy: Copy) -> None:
    none = copy.manage("logs")
    assert (none.returncode, "manage.py start" in none.stderr) == (1, True)


def test_following_survives_rotation_and_sees_new_processes(copy: Copy) -> None:
    folder = copy.var / "logs"
    folder.mkdir(parents=True)
    log = folder / "worker-1.log"
    log.write_text("before\n")
    command = [sys.executable, str(copy.folder / "manage.py"), "logs", "-f"]
    shown = copy.folder / "shown"
    with shown.open("w") as output, subprocess.Popen(command, env=copy.environment, stdout=output) as following:
        until(lambda: "before" in shown.read_text(), "it begins with the last lines")
        with log.open("a") as file:
            file.write("same file\nhalf a ")
        until(lambda: "same file" in shown.read_text(), "it follows")
        with log.open("a") as file:
            file.write("line\nlast of the old file\n")
        log.rename(folder / "worker-1.log.1")
        log.write_text("first of the new file\n")
        (folder / "gateway-2.log").write_text("a new process\n")
        until(lambda: {"a new process", "first of the new file"} <= set(said(shown)), "it goes on")
        following.send_signal(2)
        assert following.wait(60) == 0
    assert sorted(said(shown)) == sorted(
        ["before", "same file", "half a line", "last of the old file", "first of the new file", "a new process"]
    )


def said(shown: Path) -> list[str]:
    return [line.split("| ", 1)[1] for line in shown.read_text().splitlines()]


@pytest.mark.parametrize("line", ["no time at all", "2026-13-45T99:99:99 no such time", ""])
def test_a_line_without_a_time_has_none(line: str) -> None:
    assert logs.moment(line) is None


def test_the_time_of_a_redis_line_is_local() -> None:
    now = time.time()
    stamp = time.strftime("%d %b %Y %H:%M:%S", time.localtime(now))
    assert logs.moment(f"1234:M {stamp}.250 * Ready to accept connections") == pytest.approx(int(now) + 0.25)
