"""manage.py logs --task, --request and --trace: through all processes' logs, their rotated parts and both forms."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from core_config import Settings
from operations.followed_log import FollowedLog
from operations.log_search import About, found
from taskstore.claims import Settlement
from taskstore.records import NewTask
from taskstore.store import TaskStore

from .conftest import Copy, until

TASK, OTHER, TRACE = "a1" * 16, "b2" * 16, "c3" * 16


def gateway_line(second: str, event: str, **fields: str) -> str:
    return f"2026-11-21T10:00:{second}Z INFO gateway[7] gateway.x {event} " + " ".join(
        f"{name}={value}" for name, value in fields.items()
    )


def worker_line(second: str, event: str, **fields: object) -> str:
    head = {"at": f"2026-11-21T10:00:{second}Z", "level": "INFO", "process": "worker", "pid": 8, "logger": "worker.x"}
    return json.dumps({**head, "event": event, **fields})


@pytest.fixture
def folder(copy: Copy) -> Path:
    """Logs of a gateway, in lines, and a worker, in JSON, that were rotated while a task ran."""
    folder = copy.var / "logs"
    folder.mkdir(parents=True)
    files = {
        "gateway-1.log.2": [gateway_line("01.000", "task_submitted", task=TASK, request_id="r1")],
        "gateway-1.log.1": [gateway_line("01.500", "task_submitted", task=OTHER, request_id="r11")],
        "gateway-1.log": [
            gateway_line("04.000", "request_failed", request_id="r1", note='"one task=of none"'),
            "Traceback (most recent call last):",
            gateway_line("09.000", "cancel_requested", task=TASK, request_id="r2"),
        ],
        "worker-1.log.1": [worker_line("02.000", "attempt_started", task=TASK, trace=TRACE)],
        "worker-1.log": [
            worker_line("03.000", "attempt_started", task=OTHER),
            worker_line("05.000", "settle_failed", tasks=f"{OTHER},{TASK}"),
            worker_line("06.000", "task_ended", task=TASK, trace=TRACE, nested={"a b": 1}),
        ],
    }
    for name, lines in files.items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines))
    return folder


@pytest.mark.parametrize(
    ("option", "wanted"),
    [
        (("--task", TASK), ["task_submitted", "attempt_started", "settle_failed", "task_ended", "cancel_requested"]),
        (("--task", OTHER), ["task_submitted", "attempt_started", "settle_failed"]),
        (("--task", TASK, "-n", "2"), ["task_ended", "cancel_requested"]),
        (("--task", TASK, "worker"), ["attempt_started", "settle_failed", "task_ended"]),
        (("--trace", TRACE), ["attempt_started", "task_ended"]),
        (
            ("--request", "r1"),
            ["task_submitted", "attempt_started", "request_failed", "settle_failed", "task_ended", "cancel_requested"],
        ),
        (("--request", "r2"), ["task_submitted", "attempt_started", "settle_failed", "task_ended", "cancel_requested"]),
    ],
)
@pytest.mark.usefixtures("folder")
def test_all_lines_about_it_in_the_order_of_their_times(copy: Copy, option: tuple[str, ...], wanted: list[str]) -> None:
    shown = copy.manage("logs", *option)
    assert shown.returncode == 0, shown.stderr
    assert [line.split("| ", 1)[1].split()[4] for line in shown.stdout.splitlines()] == wanted


@pytest.mark.usefixtures("folder")
def test_a_line_in_json_is_shown_in_the_form_for_people(copy: Copy) -> None:
    last = copy.manage("logs", "--task", TASK, "worker", "-n", "1").stdout
    assert last == (
        f"worker-1     | 2026-11-21T10:00:06.000Z INFO worker[8] worker.x task_ended task={TASK} trace={TRACE} "
        "nested=\"{'a b': 1}\"\n"
    )


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--task", "f" * 32), f"is about task {'f' * 32}. It ran elsewhere"),
        (("--task", "a1"), "'a1' is no task id, which is 32 of 0-9 and a-f"),
        (("--task", TASK.upper()), "is no task id"),
        (("--trace", "../x"), "is no trace id"),
        (("--request", "a b"), "'a b' is no request id"),
        (("--request", "r"), "is about request r."),
        (("--request", "r1", "worker"), "is about request r1."),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_cannot_be_found_is_said(copy: Copy, option: tuple[str, ...], said: str) -> None:
    done = copy.manage("logs", *option)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr


def test_one_at_a_time(copy: Copy) -> None:
    assert copy.manage("logs", "--task", TASK, "--trace", TRACE).returncode == 2


def test_nothing_is_missed_or_shown_twice_when_a_log_is_rotated_meanwhile(folder: Path) -> None:
    path = folder / "worker-1.log"
    with path.open("a") as log:
        log.write("half a line about ")
    followed = {path: FollowedLog(path)}
    (folder / "worker-1.log.1").rename(folder / "worker-1.log.2")
    with path.open("a") as log:
        log.write(f"{TASK}\n{TASK} last of the old\n")
    path.rename(folder / "worker-1.log.1")
    path.write_text(f"{TASK} first of the new\n")
    about = About("task", TASK)
    before = [json.loads(line)["event"] for _, line in found(followed, about)]
    after = [line.decode() for line in followed[path].lines() if about(line)]
    followed[path].close()
    assert before == ["attempt_started", "settle_failed", "task_ended"]
    assert after == [f"half a line about {TASK}", f"{TASK} last of the old", f"{TASK} first of the new"]


async def test_it_is_followed_until_it_has_ended(copy: Copy, settings: Settings, store: TaskStore) -> None:
    folder = copy.var / "logs"
    folder.mkdir(parents=True)
    (folder / "gateway-1.log").write_text(gateway_line("01.000", "task_submitted", task=TASK, request_id="r1") + "\n")
    await store.submit(NewTask(task_id=TASK, caller="alice", message="m", model="M"))
    environment = {**copy.environment, "REDIS_URL": settings.redis_address, "KEY_PREFIX": settings.key_prefix}
    shown, said = copy.folder / "shown", copy.folder / "said"
    command = [sys.executable, str(copy.folder / "manage.py"), "logs", "-f", "--request", "r1"]
    with (
        shown.open("w") as out,
        said.open("w") as err,
        subprocess.Popen(command, env=environment, stdout=out, stderr=err) as following,
    ):
        try:
            await asyncio.to_thread(
                until, lambda: "task_submitted" in shown.read_text(), "it begins with what is there"
            )
            with (folder / "worker-1.log").open("a") as log:
                log.write(worker_line("02.000", "attempt_started", task=TASK) + "\n")
                log.write(worker_line("02.100", "attempt_started", task=OTHER) + "\n")
            await asyncio.to_thread(until, lambda: "attempt_started" in shown.read_text(), "and goes on")
            assert following.poll() is None
            await store.claim("w1", 1, room=1, extra=0, models={"M": None})
            failed = Settlement(task_id=TASK, fence=1, kind="fail", error_code="provider_auth", error="no")
            assert await store.settle([failed]) == ["ok"]
            assert await asyncio.to_thread(following.wait, 60) == 0
        finally:
            following.kill()
    assert shown.read_text().count("\n") == 2, "nothing of other tasks"
    assert said.read_text() == f"manage.py logs: task {TASK} is failed (provider_auth).\n"
