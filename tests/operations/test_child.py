"""One supervised process, by hand: how it is ended, what ends with it, where its words go."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from operations import logfiles, runstate
from operations.child import Child, restart_delay
from operations.logfiles import LogFile
from operations.plan import ProcessSpec

OPEN: list[LogFile] = []


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A VAR_DIR; the logs that a test opens in it are closed at the end."""
    logfiles.directory(tmp_path).mkdir()
    yield tmp_path
    while OPEN:
        OPEN.pop().close()


def log_in(folder: Path, name: str) -> LogFile:
    OPEN.append(LogFile(folder, name))
    return OPEN[-1]


def child(
    folder: Path, program: str, *, stop_seconds: float = 5, died: Callable[[str], None] = lambda _: None
) -> Child:
    command = (sys.executable, "-u", "-c", program)
    spec = ProcessSpec("worker-1", "worker", command, dict(os.environ), stop_seconds)
    return Child(spec, log_in(folder, "worker-1"), lambda: None, died)


async def until(probe: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 10
    while not probe():
        assert time.monotonic() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.02)


def log_of(folder: Path) -> str:
    path = logfiles.directory(folder) / "worker-1.log"
    return path.read_text() if path.is_file() else ""


def test_a_process_that_dies_at_once_is_tried_again_ever_more_slowly() -> None:
    assert [restart_delay(deaths) for deaths in range(1, 9)] == [0, 0.5, 1, 2, 4, 5, 5, 5]
    assert restart_delay(100_000) == 5


async def test_sigterm_comes_first(folder: Path) -> None:
    program = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit('bye')); print('up'); time.sleep(600)"
    one = child(folder, program)
    await one.start()
    await until(lambda: "up" in log_of(folder), "it is up")
    await one.stop(asyncio.Event())
    await one.stop(asyncio.Event())
    assert one.ended == "exit code 1"
    await until(lambda: "bye" in log_of(folder), "its last words are in the log")


async def test_what_ignores_sigterm_is_killed_after_its_time(folder: Path) -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(600)"
    one = child(folder, deaf, stop_seconds=0.2)
    await one.start()
    await until(lambda: "up" in log_of(folder), "it is up")
    await one.stop(asyncio.Event())
    assert one.ended == f"signal {signal.SIGKILL}"


async def test_a_hurry_cuts_the_drain_short(folder: Path) -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(600)"
    one = child(folder, deaf, stop_seconds=600)
    await one.start()
    await until(lambda: "up" in log_of(folder), "it is up")
    hurry = asyncio.Event()
    stopping = asyncio.create_task(one.stop(hurry))
    await asyncio.sleep(0)
    hurry.set()
    await asyncio.wait_for(stopping, 10)
    assert one.ended == f"signal {signal.SIGKILL}"


async def test_what_it_had_started_ends_with_it_and_each_life_has_its_own_id(folder: Path) -> None:
    dead: list[str] = []
    sleeper = "import time; time.sleep(600)"
    program = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {sleeper!r}]); time.sleep(600)"
    one = child(folder, program, died=dead.append)
    await one.start()
    first = one.identity
    assert one.record
    process = psutil.Process(one.record.pid)
    assert process.cmdline()[-2:] == ["--id", first]
    await until(process.children, "it has a child")
    (grandchild,) = process.children()
    os.kill(process.pid, signal.SIGKILL)
    await until(lambda: runstate.has_ended(grandchild.pid), "the grandchild ends")
    await until(lambda: one.record and one.record.pid != process.pid, "it is started again")
    assert dead == [first]
    assert one.identity.startswith("worker-1-")
    assert one.identity != first
    await one.stop(asyncio.Event())


async def test_a_program_that_is_not_there_is_tried_again(folder: Path) -> None:
    spec = ProcessSpec("redis", "redis", (str(folder / "none"),), {}, 5)
    one = Child(spec, log_in(folder, "redis"), lambda: None, lambda _: None)
    await one.start()
    await until(lambda: one.restarts >= 2, "it is tried again")
    assert "No such file" in one.ended
    await one.stop(asyncio.Event())


async def test_a_log_that_cannot_be_written_holds_nobody_up(folder: Path) -> None:
    (logfiles.directory(folder) / "worker-1.log").mkdir()
    done = folder / "done"
    program = "for _ in range(500): print('y' * 1000)\n"
    program += f"import pathlib, time; pathlib.Path({str(done)!r}).touch(); time.sleep(600)"
    one = child(folder, program)
    await one.start()
    await until(done.exists, "half a megabyte went through the pipe")
    await one.stop(asyncio.Event())


async def test_logs_append_keep_every_line_and_rotate(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(logfiles, "MAX_BYTES", 10_000)
    monkeypatch.setattr(logfiles, "KEPT", 2)
    (logfiles.directory(folder) / "worker-1.log").write_text("from before\n")
    program = "for i in range(4000): print(f'line {i}')\nimport sys, time; sys.stdout.write('no end'); time.sleep(600)"
    one = child(folder, program)
    await one.start()
    await until(lambda: "line 3999\n" in log_of(folder), "all is written")
    await one.stop(asyncio.Event())
    await until(lambda: log_of(folder).endswith("no end\n"), "a line without an end counts when the process ended")
    files = sorted(logfiles.directory(folder).iterdir())
    assert [path.name for path in files] == ["worker-1.log", "worker-1.log.1", "worker-1.log.2"]
    assert all(path.stat().st_size <= 10_000 for path in files)
    lines = [line for path in reversed(files) for line in path.read_text().splitlines()]
    assert lines[-4:] == ["line 3997", "line 3998", "line 3999", "no end"]
    numbers = [int(line.split()[1]) for line in lines[:-1]]
    assert numbers == list(range(numbers[0], 4000))
    assert logfiles.tail(files[0], 3) == ["line 3998", "line 3999", "no end"]
