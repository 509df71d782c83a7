"""The steps of real runs in real worker processes: noted as they happen, redacted, and of no harm to any run."""

import signal
from typing import Any

import pytest

from agent.run_context import MAX_STEP_TEXT, StepEvent
from monitoring.logs import Redactor
from taskstore.claims import Claim
from taskstore.records import Kind
from taskstore.steps import steps_of
from tests.worker.conftest import eventually, new_task
from worker.steps import MOST_WAITING, StepLog


async def steps_now(store, task):
    history = await store.history(task.task_id)
    return steps_of(history.record, history.events)


async def test_a_run_s_steps_are_kept_with_what_each_took_and_cost(store, start_worker, ended):
    start_worker()
    task = new_task("steps 4")
    await store.submit(task)
    record = await ended(task)
    assert (record.status, record.steps, record.steps_dropped) == ("success", 8, 0)
    steps = await steps_now(store, task)
    assert [(step.number, step.kind, step.name, step.state, step.duration_ms) for step in steps] == [
        (1, "model", "M", "done", 20), (2, "tool", "adder", "failed", 3), (3, "model", "M", "done", 20),
        (4, "tool", "adder", "failed", 3),
    ]  # fmt: skip
    assert [(step.cost_usd, step.result, step.arguments, step.error) for step in steps[:2]] == [
        (0.25, "text", None, None), (None, None, '{"a": 1}', "no"),
    ]  # fmt: skip
    assert steps[0].usage is not None
    assert (steps[0].usage.total_tokens, steps[1].usage) == (15, None)


async def test_a_step_can_be_read_while_it_runs(store, tmp_path, start_worker, ended):
    start_worker()
    task = new_task(f"begin {tmp_path}/go")
    await store.submit(task)

    async def begun() -> Any:
        return await steps_now(store, task)

    (step,) = await eventually(begun)
    assert (step.name, step.state, step.duration_ms) == ("held", "running", None)
    (tmp_path / "go").touch()
    await ended(task)
    (step,) = await steps_now(store, task)
    assert (step.state, step.result) == ("done", "ok")


async def test_a_worker_that_died_leaves_its_step_unfinished(store, tmp_path, start_worker, ended):
    worker = start_worker()
    task = new_task(f"begin {tmp_path}/go")
    await store.submit(task)

    async def begun() -> Any:
        return await steps_now(store, task)

    await eventually(begun)
    worker.signal(signal.SIGKILL)
    (tmp_path / "go").touch()
    start_worker()
    await ended(task)
    assert [(step.fence, step.state) for step in await steps_now(store, task)] == [(1, "unfinished"), (2, "done")]


async def test_no_secret_reaches_a_step_s_texts(store, start_worker, ended):
    planted, shaped = "Tr0ub4dor&3-planted", "sk-abcdefghijklmnop"
    start_worker(tavily_api_key=planted)
    tasks = [new_task(f"leak before {secret} after") for secret in (planted, shaped)]
    for task in tasks:
        await store.submit(task)
        await ended(task)
        raw = str(await store.redis.xrange(store.keys.events(task.task_id)))
        assert raw.count("before [redacted] after") == 3
        for secret in (planted, shaped):
            assert secret[:6] not in raw, "nor the beginning of one that stood where a text was cut"


async def test_a_run_without_steps_costs_no_command_and_a_quick_one_with_steps_neither(store, start_worker, ended):
    """Steps go with the outcome unless the run lasts: counted by the server."""
    start_worker()
    warm = new_task("steps 1")
    await store.submit(warm)
    await ended(warm)
    tasks = [new_task("say x"), new_task("steps 6")]
    async with store.redis.monitor() as monitor:
        for task in tasks:
            await store.submit(task)
            await ended(task)
        await store.redis.echo("end")
        step, settle = (store._scripts._scripts[verb].sha for verb in ("step", "settle"))
        counted = {step: 0, settle: 0}
        while (command := (await monitor.next_command()))["command"] != "ECHO end":
            if command["client_type"] != "lua":
                for sha in counted:
                    counted[sha] += sha in command["command"].split(" ")
    assert counted[settle] == 2
    # a machine that stops for longer than they linger sends them alone, once
    assert counted[step] <= 1
    assert (await store.get(tasks[1].task_id)).steps == 12


async def test_many_runs_steps_go_together(store, tmp_path, start_worker, ended):
    tasks = [new_task(f"begin {tmp_path}/go") for _ in range(30)]
    for task in tasks:
        await store.submit(task)

    async def all_begun() -> bool:
        return all([(await store.get(task.task_id)).steps for task in tasks])

    async with store.redis.monitor() as monitor:
        start_worker(worker_concurrency=30)  # one claim takes them all
        await eventually(all_begun)
        await store.redis.echo("end")
        step, written = store._scripts._scripts["step"].sha, 0
        while (command := (await monitor.next_command()))["command"] != "ECHO end":
            written += command["client_type"] != "lua" and step in command["command"].split(" ")
    assert written < len(tasks) / 2
    (tmp_path / "go").touch()
    for task in tasks:
        assert (await ended(task)).status == "success"


def log_of(**more: Any) -> StepLog:
    claim = Claim(
        task_id="t", fence=1, attempt=1, crashes=0, retries=0, caller="a", model="M", agent="default", kind=Kind.BATCH,
        message="x", user_id=None, session_id=None, metadata={}, left_ms=None,
    )  # fmt: skip
    return StepLog(claim, more.get("redact", str), more.get("on_note", lambda log, seconds: None))


def event(number: int, **fields: Any) -> Any:
    return StepEvent(**{"kind": "tool", "phase": "end", "number": number, "name": "t", **fields})


def test_what_waits_is_bounded_and_what_is_too_much_is_counted():
    log = log_of()
    for number in range(MOST_WAITING + 7):
        log.note(event(number))
    batch = log.take()
    assert batch is not None
    assert (batch.first, len(batch.notes), batch.notes[-1]) == (1, MOST_WAITING + 1, 7)
    # Redis did not answer: the same notes keep their numbers, what comes meanwhile follows them
    log.put_back(batch)
    log.note(event(1))
    again = log.take()
    assert again is not None
    assert again.notes[: len(batch.notes)] == batch.notes
    assert (again.first, again.notes[len(batch.notes) :]) == (1, (1,))
    assert log.take() is None


def test_a_run_that_outlives_its_attempt_notes_nothing():
    log = log_of()
    log.note(event(1))
    log.close()
    log.note(event(2))
    batch = log.take()
    assert batch is not None
    assert len(batch.notes) == 1
    assert log.take() is None


def test_the_writer_is_called_once_for_what_waits_together():
    called: list[StepLog] = []
    log = log_of(on_note=lambda log, seconds: called.append(log))
    for number in range(3):
        log.note(event(number))
    assert called == [log]
    log.take()
    log.note(event(3))
    assert called == [log, log]


def test_the_beginning_of_a_secret_at_a_cut_is_taken_off_whatever_stood_before_it():
    """Redacting made the text shorter: its end is not where it would have been."""
    secret = "s3cret-" + "x" * 150
    log = log_of(redact=Redactor([secret]))
    for end in range(2, len(secret)):
        text = (secret * 10 + "." * MAX_STEP_TEXT)[: MAX_STEP_TEXT - end] + secret[:end]
        log.note(event(1, result=text, error=text + secret[end:] + "more"))
        batch = log.take()
        assert batch is not None
        assert secret[: min(end, 4)] not in batch.as_json().decode().replace("[redacted]", "")


@pytest.mark.parametrize("text", ["half \ud800 pair", "a\x00b", "x" * 5000, "🙂" * 3000])
def test_any_text_can_be_written(text):
    log = log_of()
    log.note(event(1, result=text, arguments=text, error=text))
    batch = log.take()
    assert batch is not None
    assert len(batch.as_json()) < 40_000
