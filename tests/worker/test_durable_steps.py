"""Workers with the real agent, killed with SIGKILL between any two of their writes: what was paid for is not paid
again, and what was done is not done again. The model's provider and the tools count their own calls.
"""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core_config import ROOT, SIMULATOR, Settings
from taskstore.records import NewTask, TaskRecord
from taskstore.store import TaskStore
from tests.agent.scripted_provider import Reply, Request, ScriptedProvider, completion
from tests.worker.conftest import eventually

Calls = list[tuple[str, dict[str, str]]]


class Model(ScriptedProvider):
    """Answers by how far the conversation is: `plans[task's message][n]` after n answers. What is asked twice is
    answered twice, and counted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.plans: dict[str, list[Calls | str | Reply]] = {}

    def asked(self, message: str) -> int:
        return [told_by(request) for request in self.requests].count(message)

    def reply_to(self, request: Request) -> Reply:
        said = sum(message["role"] == "assistant" for message in request.body["messages"])
        match self.plans[told_by(request)][said]:
            case str(text):
                return completion(text)
            case Reply() as reply:
                return reply
            case calls:
                return completion(calls=[*calls])


def told_by(request: Request) -> str:
    """The task's message."""
    return next(message["content"] for message in request.body["messages"] if message["role"] == "user")


class Worker:
    def __init__(self, name: str, pid: int, journal: Path) -> None:
        self.name = name
        self.pid = pid
        self._journal = journal

    def acknowledged(self, what: str) -> int:
        """How many `answers` or `tokens` the last write told that was acknowledged."""
        told = self._journal.read_text().splitlines() if self._journal.exists() else []
        return max((int(line.split()[1]) for line in told if line.startswith(what)), default=0)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def is_dead(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        return False


Start = Callable[..., Worker]
TOOLS = ("add_line", "add_line_and_hold", "add_line_once", "add_line_and_hold_once")
AGENTS = f"""
[agents.counting]
prompt = "Do as you are told."
tools = {[f"tests.worker.counting_tools:{name}" for name in TOOLS]}

[agents.code]
run = "tests.worker.counting_tools:agent"
tools = {[f"tests.worker.counting_tools:{name}" for name in TOOLS]}
"""


@pytest.fixture(scope="module")
def forks() -> Iterator["subprocess.Popen[str]"]:
    """Imports the agent once for all workers of this file."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.worker.durable_worker"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def model() -> Iterator[Model]:
    running = Model()
    yield running
    running.stop()


@pytest.fixture
def start(forks: "subprocess.Popen[str]", settings: Settings, model: Model, tmp_path: Path) -> Iterator[Start]:
    started: list[Worker] = []
    (tmp_path / "agents.toml").write_text(AGENTS)

    def start(die: str = "never", **changes: Any) -> Worker:
        name = f"w{len(started)}-{uuid.uuid4().hex[:6]}"
        given = {
            "redis_url": settings.redis_url, "key_prefix": settings.key_prefix, "lease_seconds": 20,
            "simulator_port": model.port, "worker_concurrency": 4, "agents_file": str(tmp_path / "agents.toml"),
            **changes,
        }  # fmt: skip
        assert forks.stdin
        assert forks.stdout
        journal = tmp_path / name
        forks.stdin.write(json.dumps({"name": name, "settings": given, "die": die, "journal": str(journal)}) + "\n")
        forks.stdin.flush()
        started.append(Worker(name, int(forks.stdout.readline()), journal))
        return started[-1]

    yield start
    for worker in started:
        if not worker.is_dead():
            worker.kill()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "lines"


def lines(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []


def new_task(**fields: Any) -> NewTask:
    named = {"task_id": uuid.uuid4().hex, "caller": "alice", "message": "go", "model": SIMULATOR, "agent": "counting"}
    return NewTask(**{**named, **fields})


async def died(store: TaskStore, worker: Worker) -> None:
    async def gone() -> bool:
        return worker.is_dead()

    await eventually(gone, 30)
    await store.sweep(dead=worker.name)


async def ended(store: TaskStore, task: NewTask) -> TaskRecord:
    async def final() -> TaskRecord | None:
        record = await store.get(task.task_id)
        return record if record.is_final else None

    record: TaskRecord = await eventually(final, 30)
    assert await store.audit() == []
    return record


class Killed:
    """A task whose worker was killed, and has not been rescued yet."""

    def __init__(self, point: str, task: NewTask, worker: Worker, file: Path, asked: int, progress: set[str]) -> None:
        self.point = point
        self.task = task
        self.worker = worker
        self.file = file
        self.asked = asked
        """Model calls that were made."""
        self.tool_is_open = any(name.startswith("begun") for name in progress)
        """Whether the worker died in a call that may not be made twice."""


async def killed_at(point: str, tool: str, store: TaskStore, model: Model, start: Start, file: Path) -> Killed:
    """The task has three model calls, and one and then two tool calls between them."""
    named = [(tool, {"file": str(file), "line": line}) for line in ("one", "two", "three")]
    task = new_task(message=str(file))
    model.plans[str(file)] = [named[:1], named[1:], "done"]
    await store.submit(task)
    worker = start(point, worker_concurrency=1)

    async def gone() -> bool:
        return worker.is_dead()

    await eventually(gone, 60)
    progress = await store.progress(task.task_id)
    return Killed(point, task, worker, file, model.asked(str(file)), set(progress))


IDEMPOTENT = ["before 1", "after 1", "before 2", "after 2", "before 4", "before settle"]
ONCE = ["begun", "before 2", "after 2", "after 3", "after 5"]


async def test_workers_killed_between_any_two_writes_leave_only_the_rest_to_do(store, model, start, tmp_path):
    killed = [
        await killed_at(point, tool, store, model, start, tmp_path / f"{tool} {point}".replace(" ", "-"))
        for tool, points in (("add_line", IDEMPOTENT), ("add_line_once", ONCE))
        for point in points
    ]
    for one in killed:
        await store.sweep(dead=one.worker.name)
    start(worker_concurrency=4)
    cut_off = 0
    for one in killed:
        record = await ended(store, one.task)
        done, told = lines(one.file), f"{one.file.name}: {record.error_code} {record.usage} {lines(one.file)}"
        # a model call is made again only when its answer was on its way to Redis
        unacknowledged = one.asked - one.worker.acknowledged("answers")
        assert unacknowledged in {0, 1}, told
        # what was acknowledged, and what the second attempt spent, is on the record, once
        assert record.usage, told
        spent = one.worker.acknowledged("tokens") + 15 * (model.asked(str(one.file)) - one.asked)
        assert record.usage.total_tokens == spent, told
        assert spent >= 15 * one.worker.acknowledged("answers"), told
        if one.tool_is_open:
            cut_off += 1
            assert (record.status, record.error_code) == ("failed", "tool_outcome_unknown"), told
            assert len(done) == len(set(done)), told
            assert model.asked(str(one.file)) == one.asked, told
            continue
        assert (record.status, record.result, record.attempt) == ("success", "done", 2), told
        assert model.asked(str(one.file)) == 3 + unacknowledged, told
        assert set(done) == {"one", "two", "three"}, told
        if "once" in one.file.name:
            assert len(done) == 3, told
        # nothing is left of what was only of use to another attempt
        assert await store.redis.exists(store.keys.steps(one.task.task_id)) == 0
    assert cut_off
    assert (await store.overview()).dead == cut_off
    (row,) = await store.usage(by="agent", since_days=1)
    assert row.tasks == len(killed)
    everything = [(await store.get(one.task.task_id)).usage for one in killed]
    assert row.total_tokens == sum(usage.total_tokens for usage in everything if usage)


async def test_a_finished_tool_does_not_run_again_although_its_neighbour_had_not(store, model, start, file, tmp_path):
    """Two calls of one answer: one is done, the other holds when its worker is killed."""
    holds = tmp_path / "holds"
    model.plans["go"] = [
        [("add_line", {"file": str(file), "line": "quick"}), ("add_line_and_hold", {"file": str(holds), "line": "x"})],
        "done",
    ]
    task = new_task()
    await store.submit(task)
    worker = start()

    async def quick_is_kept() -> bool:
        kept = await store.progress(task.task_id)
        return bool(lines(holds)) and any(name.startswith("tool") for name in kept)

    await eventually(quick_is_kept, 30)
    worker.kill()
    (tmp_path / "holds.go").touch()
    await died(store, worker)
    start()
    record = await ended(store, task)
    assert (record.status, record.attempt) == ("success", 2)
    assert (lines(file), lines(holds)) == (["quick"], ["x", "x"])
    assert model.asked("go") == 2


async def test_a_tool_that_may_not_run_twice_runs_again_only_after_a_replay(store, model, start, file):
    call = ("add_line_and_hold_once", {"file": str(file), "line": "paid"})
    model.plans["go"] = [[call], "done"]
    task = new_task()
    await store.submit(task)
    worker = start()

    async def inside() -> bool:
        return bool(lines(file))

    await eventually(inside, 30)
    worker.kill()
    await died(store, worker)
    start()
    record = await ended(store, task)
    assert (record.status, record.error_code) == ("failed", "tool_outcome_unknown")
    assert "add_line_and_hold_once" in (record.error or "")
    assert lines(file) == ["paid"]
    assert (await store.overview()).dead == 1
    Path(f"{file}.go").touch()
    await store.replay(task.task_id)
    record = await ended(store, task)
    assert (record.status, record.result, lines(file)) == ("success", "done", ["paid", "paid"])
    # the replay went on: the first answer was not asked for again
    assert model.asked("go") == 2


async def test_a_retry_goes_on_and_a_worker_that_wakes_too_late_writes_nothing(store, model, start, file, tmp_path):
    """The second model call is refused in passing. The retry's worker is paused in its tool until its lease is gone."""
    model.plans["go"] = [
        [("add_line", {"file": str(file), "line": "one"})],
        Reply(429, "{}", {"retry-after": "0"}),
        [("add_line_and_hold", {"file": str(tmp_path / "holds"), "line": "two"})],
        "done",
    ]
    task = new_task()
    await store.submit(task)
    zombie = start(lease_seconds=1)

    async def holds() -> bool:
        return lines(tmp_path / "holds") == ["two"]

    async def retried() -> bool:
        return (await store.get(task.task_id)).retries == 1

    await eventually(retried, 30)
    model.plans["go"].pop(1)
    await eventually(holds, 30)
    assert lines(file) == ["one"]
    os.kill(zombie.pid, signal.SIGSTOP)
    second = start(lease_seconds=1)

    async def taken_over() -> bool:
        record = await store.get(task.task_id)
        return record.worker == second.name and lines(tmp_path / "holds") == ["two", "two"]

    await eventually(taken_over, 30)
    before = await store.progress(task.task_id)
    (tmp_path / "holds.go").touch()
    record = await ended(store, task)
    os.kill(zombie.pid, signal.SIGCONT)

    async def refused() -> bool:
        return await store.redis.zscore(store.keys.workers(), zombie.name) is not None

    await eventually(refused)
    assert before
    assert record.usage
    assert (record.status, record.result, record.usage.total_tokens) == ("success", "done", 45)
    assert lines(file) == ["one"]
    assert await store.get(task.task_id) == record
    assert await store.progress(task.task_id) == {}


async def test_model_calls_are_counted_over_the_attempts_until_a_replay(store, model, start, file):
    """With at most two calls a task, one is left after a worker that made one and died."""
    model.plans["go"] = [[("add_line", {"file": str(file), "line": str(turn)})] for turn in range(9)]
    task = new_task()
    await store.submit(task)
    await died(store, start("1 answers", agent_max_iterations=2))
    start(agent_max_iterations=2)
    record = await ended(store, task)
    assert (record.status, record.error_code, model.asked("go")) == ("failed", "max_iterations", 2)
    await store.replay(task.task_id)
    record = await ended(store, task)
    assert record.usage
    assert (record.error_code, model.asked("go"), record.usage.total_tokens) == ("max_iterations", 4, 60)
    assert lines(file) == ["0", "1", "2", "3"]


async def test_an_answer_that_is_refused_is_asked_for_again(store, model, start, file):
    """An empty answer ends the graph like any other. A retry that went on from there would find it empty for ever."""
    model.plans["go"] = [[("add_line", {"file": str(file), "line": "one"})], ""]
    task = new_task()
    await store.submit(task)
    start()

    async def retried() -> bool:
        return (await store.get(task.task_id)).retries == 1

    await eventually(retried, 30)
    model.plans["go"][1] = "done"
    record = await ended(store, task)
    assert (record.status, record.result, lines(file)) == ("success", "done", ["one"])
    assert record.usage
    assert record.usage.total_tokens == 15 * model.asked("go")


async def test_code_begins_again_and_what_may_not_run_twice_does_not(store, model, start, file):
    """An agent that is a function has no steps to go on from; the ledger tells its second call from a like first."""
    model.plans["go"] = ["on"]
    task = new_task(agent="code", input={"file": str(file), "message": "go"}, message="")
    await store.submit(task)
    worker = start()

    async def holds() -> bool:
        return len(lines(file)) == 3

    await eventually(holds, 30)
    worker.kill()
    await died(store, worker)
    Path(f"{file}.go").touch()
    start()
    record = await ended(store, task)
    # add_line_once twice, of one line; add_line, which may run again, held by its name
    assert (record.status, record.result) == ("success", "added twice added twice added any")
    assert lines(file) == ["twice", "twice", "any", "any"]
    # the first attempt's call was noted and charged
    assert record.usage
    assert record.usage.total_tokens == 15 * model.asked("go") == 30
