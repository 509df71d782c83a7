"""`manage.py dead` as an operator runs it: against a store, with no gateway; asked at a real terminal."""

import io
import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from rich.cells import cell_len

from core_config import Settings
from taskstore.claims import Settlement
from taskstore.errors import TaskNotFound
from taskstore.records import NewTask
from taskstore.states import Status
from taskstore.store import TaskStore

from .conftest import Copy, Manage

MODELS = {"Simulator": None, "Claude": None, "Lost-Model": None}
LETTERS: tuple[Mapping[str, Any], ...] = (
    {"caller": "alice", "model": "Simulator", "message": "Compute\x1b[2J 6 * 7"},
    {"caller": "bob", "model": "Claude", "message": "请" * 60, "agent": "researcher"},
    {"caller": "alice", "model": "Claude", "message": "", "input": {"total": 1}},
)
CODES = ("worker_lost", "tool_outcome_unknown", "worker_lost")


def task_id(number: int) -> str:
    return f"{number:032x}"


async def bury(store: TaskStore, number: int, error_code: str, **fields: Any) -> None:
    await store.submit(NewTask(task_id=task_id(number), **fields))
    (claim,) = (await store.claim("w1", number + 1, room=1, extra=0, models=MODELS)).tasks
    await store.settle(
        [Settlement(task_id=claim.task_id, fence=1, kind="bury", error_code=error_code, error=f"why \x1b[1m{number}")]
    )


@pytest.fixture
async def letters(store: TaskStore) -> AsyncIterator[TaskStore]:
    """Three dead letters, and as number 8 a task that failed otherwise, and as 9 one that waits."""
    for number, (fields, code) in enumerate(zip(LETTERS, CODES, strict=True)):
        await bury(store, number, code, **fields)
    for number in (8, 9):
        await store.submit(NewTask(task_id=task_id(number), caller="alice", message="x", model="Simulator"))
        if number == 8:
            await store.claim("w1", 9, room=1, extra=0, models=MODELS)
            failed = Settlement(task_id=task_id(8), fence=1, kind="fail", error_code="provider_auth", error="no")
            await store.settle([failed])
    yield store
    assert await store.audit() == []


async def statuses(store: TaskStore) -> dict[int, str]:
    """Of each task that is still there."""
    found = {}
    for number in (0, 1, 2, 8, 9):
        try:
            found[number] = (await store.get(task_id(number))).status.value
        except TaskNotFound:
            continue
    return found


UNTOUCHED = {0: "failed", 1: "failed", 2: "failed", 8: "failed", 9: "pending"}


def ids_in(text: str) -> list[int]:
    return [int(line.split()[0], 16) for line in text.splitlines() if line.startswith("0000")]


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ((), [2, 1, 0]),
        (("--caller", "alice"), [2, 0]),
        (("--code", "worker_lost", "--model", "Claude"), [2]),
        (("--agent", "researcher", "--since", "1h"), [1]),
        (("--limit", "2"), [2, 1]),
        (("--since", "2100-01-01T00:00:00Z"), []),
    ],
)
async def test_list_shows_the_last_buried_first(
    options: tuple[str, ...], numbers: list[int], manage: Manage, letters: TaskStore
) -> None:
    code, out, err = await manage("dead", "list", *options)
    assert (code, err, ids_in(out)) == (0, "", numbers)
    assert "\x1b" not in out
    assert max(cell_len(line) for line in out.splitlines()) <= 80
    assert ("There are more" in out) is ("--limit" in options)
    assert ("No dead letter is like that." in out) is (not numbers)
    code, out, _ = await manage("dead", "list", *options, "--json")
    assert [int(json.loads(line)["task_id"], 16) for line in out.splitlines()] == numbers


async def test_list_tells_who_what_and_how_often_it_was_tried(manage: Manage, letters: TaskStore) -> None:
    _, out, _ = await manage("dead", "list", "--caller", "alice")
    head, *lines = out.splitlines()
    assert head.split() == ["TASK", "BURIED", "(UTC)", "ERROR", "TRY/CRASH"]
    assert lines[0].split()[3:] == ["worker_lost", "1/0"]
    assert lines[1] == '  alice, default on Claude: {"total": 1}'
    assert lines[3] == "  alice, default on Simulator: Compute [2J 6 * 7"


async def test_without_dead_letters_it_says_so(manage: Manage) -> None:
    assert await manage("dead", "list") == (0, "No dead letter.\n", "")
    assert await manage("dead", "replay", "--all") == (0, "Replayed 0 tasks.\n", "")
    assert await manage("dead", "purge", "--all") == (0, "Purged 0 tasks.\n", "")


async def test_show_tells_why_it_was_buried_and_what_became_of_its_attempts(manage: Manage, letters: TaskStore) -> None:
    code, out, err = await manage("dead", "show", task_id(0))
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    assert f"Dead letter {task_id(0)}\n  buried   " in out
    assert "ago; forgotten in 7 d\n  because  worker_lost: why [1m0\n" in out
    assert "  tried    1 attempt; used of its budgets: retries 0, crashes 0\n" in out
    assert f"python3 manage.py dead replay {task_id(0)}" in out
    assert "attempt 1 on w1: ran" in out
    _, out, _ = await manage("dead", "show", task_id(2), "--json")
    told = json.loads(out)
    (attempt,) = told["attempts"]
    assert (told["error_code"], told["input"], told["attempt"], told["retries"]) == ("worker_lost", {"total": 1}, 1, 0)
    assert (attempt["worker"], attempt["ended"], attempt["steps"]) == ("w1", "failed (worker_lost)", [])
    assert told["buried_at"] < told["kept_until"]


async def test_show_refuses_what_is_no_dead_letter(manage: Manage, letters: TaskStore) -> None:
    code, out, err = await manage("dead", "show", task_id(8))
    assert (code, out, "it is no dead letter: its status is failed" in err) == (1, "", True)
    code, out, err = await manage("dead", "show", "nothing")
    assert (code, out, "no task has this id" in err) == (1, "", True)


async def test_replay_of_one_does_not_ask_and_of_any_failed_task_is_taken(manage: Manage, letters: TaskStore) -> None:
    assert (await manage("dead", "replay", task_id(0)))[:2] == (
        0, "Replayed 1 task. How it goes: python3 manage.py why ID\n",
    )  # fmt: skip
    assert (await manage("dead", "replay", task_id(8), "--on", "Claude"))[0] == 0
    assert await statuses(letters) == UNTOUCHED | {0: "pending", 8: "pending"}
    assert (await letters.get(task_id(8))).model == "Claude"
    assert ids_in((await manage("dead", "list"))[1]) == [2, 1]


async def test_replay_of_many_takes_what_the_filters_let_through(manage: Manage, letters: TaskStore) -> None:
    code, out, err = await manage("dead", "replay", "--all", "--code", "worker_lost", "--yes")
    assert (code, err) == (0, "")
    assert "2 tasks: 2 worker_lost.\nReplayed 2 tasks." in out
    assert await statuses(letters) == UNTOUCHED | {0: "pending", 2: "pending"}


async def test_purge_deletes_those_named_and_those_that_filters_let_through(manage: Manage, letters: TaskStore) -> None:
    code, out, err = await manage("dead", "purge", task_id(1), task_id(1), "--yes")
    assert (code, out, err) == (0, "1 task: 1 tool_outcome_unknown.\nPurged 1 task.\n", "")
    assert await statuses(letters) == {number: status for number, status in UNTOUCHED.items() if number != 1}
    code, out, _ = await manage("dead", "purge", "--caller", "alice", "--limit", "1", "--yes")
    assert (code, "Purged 1 task." in out) == (0, True)
    assert await statuses(letters) == {0: "failed", 8: "failed", 9: "pending"}


REFUSED = [
    (("replay",), "which ones?"),
    (("purge", "--yes"), "which ones?"),
    (("purge", task_id(0), "--all"), "either ids, or --all and filters"),
    (("replay", task_id(0), "--model", "Claude"), "replay --on MODEL"),
    (("replay", task_id(0), "--on", "Claud"), "there is no model 'Claud'"),
    (("replay", task_id(0), task_id(9), "f" * 32, "--yes"),
     f"{task_id(9)}: only what failed can be replayed; it is pending.\n  {'f' * 32}: no task has this id."),
    (("purge", task_id(0), task_id(8), "--yes"), f"{task_id(8)}: it is no dead letter: its status is failed."),
    (("purge", task_id(0)), "nobody can be asked here. Add --yes."),
    (("replay", "--all"), "nobody can be asked here. Add --yes."),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "sentence"), REFUSED)
async def test_what_cannot_be_meant_is_refused_and_nothing_is_done(
    arguments: tuple[str, ...], sentence: str, manage: Manage, letters: TaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    code, _, err = await manage("dead", *arguments)
    assert (code, sentence in err) == (1, True), err
    assert await statuses(letters) == UNTOUCHED


async def test_a_model_that_left_the_registry_has_to_be_replaced(manage: Manage, letters: TaskStore) -> None:
    await letters.cancel(task_id(9))
    await bury(letters, 3, "internal", caller="alice", message="x", model="Lost-Model")
    code, _, err = await manage("dead", "replay", "--all", "--yes")
    assert (code, "no longer has the model of some: Lost-Model (1)" in err) == (1, True)
    assert (await statuses(letters))[0] == "failed"
    assert (await manage("dead", "replay", "--all", "--yes", "--on", "Claude"))[0] == 0
    record = await letters.get(task_id(3))
    assert (record.status, record.model) == (Status.PENDING, "Claude")


@pytest.mark.parametrize(("answer", "left"), [("y", {8, 9}), ("", {0, 1, 2, 8, 9})])
async def test_a_purge_asks_at_the_terminal(
    answer: str, left: set[int], copy: Copy, letters: TaskStore, settings: Settings
) -> None:
    ours, theirs = pty.openpty()
    environment = {"REDIS_URL": settings.redis_address, "KEY_PREFIX": settings.key_prefix}
    process = subprocess.Popen(
        [sys.executable, str(copy.folder / "manage.py"), "dead", "purge", "--all"],
        env={**copy.environment, **environment}, stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    try:
        asked = _read_until(ours, b"[y/N] ")
        assert b"3 tasks: 2 worker_lost, 1 tool_outcome_unknown." in asked
        os.write(ours, answer.encode() + b"\n")
        _read_until(ours, b"urged")
        assert process.wait(60) == (0 if answer else 1)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert set(await statuses(letters)) == left


def _read_until(terminal: int, end: bytes) -> bytes:
    said, deadline = b"", time.monotonic() + 60
    while end not in said:
        ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"{end!r} not within 60 s: {said!r}"
        said += os.read(terminal, 4096)
    return said
