"""Steps: appended to the stream under the fence, once however often they are sent, and bounded."""

import time
from typing import Any

import pytest

from taskstore.claims import Settlement
from taskstore.errors import TaskNotFound
from taskstore.records import NewTask, TokenUsage
from taskstore.steps import StepBatch, StepNote, steps_of
from taskstore.store import TaskStore

from .edges_worker import succeeded
from .state import About, Contents, State, Stream, changed
from .worlds import WORLDS, running, with_task


def note(text: str, ago_s: float = 0) -> StepNote:
    return StepNote(text, time.monotonic() - ago_s)


def entry(now: int, text: str, ago: int = 0) -> dict[str, Any]:
    return {
        "type": "step", "status": "running", "attempt": 1, "fence": 1, "at": About(now - ago), "step": text,
    }  # fmt: skip


def two_noted(now: int) -> State:
    return {
        "task:t1": {"stepped": "1 2", "steps": 2, "step_bytes": 14},
        "events:t1": Stream([entry(now, '{"a":1}', 7_000), entry(now, '{"b":2}')]),
    }


TWO = (note('{"a":1}', 7), note('{"b":2}'))


async def test_steps_are_appended_with_their_own_times(audited: TaskStore, contents: Contents) -> None:
    now = await contents.clock()
    before = running(now)
    await contents.seed(before)
    assert await audited.step([("t1", 1, StepBatch(1, (note('{"a":1}', 7), note('{"b":2}'))))]) == ["ok"]
    await contents.check(changed(before, two_noted(now)))


async def test_steps_that_are_sent_again_are_not_written_again(audited: TaskStore, contents: Contents) -> None:
    now = await contents.clock()
    before = running(now)
    await contents.seed(before)
    batch = StepBatch(1, (note('{"a":1}', 7), note('{"b":2}')))
    for _ in range(3):
        assert await audited.step([("t1", 1, batch)]) == ["ok"]
    await contents.check(changed(before, two_noted(now)))
    # a reply was lost, and what came meanwhile stands behind the same two
    longer = StepBatch(1, (*batch.notes, 5, note('{"c":3}')))
    for _ in range(2):
        assert await audited.step([("t1", 1, longer)]) == ["ok"]
    after = changed(before, two_noted(now))
    more: State = {
        "task:t1": {"stepped": "1 4", "steps": 3, "step_bytes": 21, "steps_dropped": 5},
        "events:t1": Stream([entry(now, '{"c":3}')]),
    }
    await contents.check(changed(after, more))


async def test_a_later_attempt_counts_from_one_again(audited: TaskStore, contents: Contents) -> None:
    await contents.seed(with_task(running, stepped="1 9", fence=2, steps=9, step_bytes=90)(await contents.clock()))
    assert await audited.step([("t1", 2, StepBatch(1, (note("{}"),)))]) == ["ok"]
    assert await contents.client.hmget(contents.prefix + "task:t1", "stepped", "steps") == ["2 1", "10"]


@pytest.mark.parametrize("fence", [0, 2])
async def test_steps_with_another_fence_are_refused(fence: int, audited: TaskStore, contents: Contents) -> None:
    before = running(await contents.clock())
    await contents.seed(before)
    assert await audited.step([("t1", fence, StepBatch(1, TWO)), ("t9", 1, StepBatch(1, TWO))]) == ["lease_lost"] * 2
    await contents.check(before)


@pytest.mark.parametrize("name", sorted(WORLDS.keys() - {"running"}))
async def test_steps_of_what_does_not_run_are_refused(name: str, audited: TaskStore, contents: Contents) -> None:
    before = WORLDS[name](await contents.clock())
    await contents.seed(before)
    fence = int(before["task:t1"]["fence"])
    assert await audited.step([("t1", fence, StepBatch(1, TWO))]) == ["lease_lost"]
    await contents.check(before)


async def test_a_repeat_after_the_end_answers_as_the_first_time(audited: TaskStore, contents: Contents) -> None:
    await contents.seed(running(await contents.clock()))
    batch = StepBatch(1, TWO)
    await audited.step([("t1", 1, batch)])
    await audited.settle([Settlement(task_id="t1", fence=1, kind="success", result="x")])
    after = await contents.snapshot()
    assert await audited.step([("t1", 1, batch)]) == ["ok"]
    assert await audited.step([("t1", 1, StepBatch(3, TWO))]) == ["lease_lost"]
    await contents.check(after)


async def test_an_outcome_takes_steps_along_in_front_of_it(audited: TaskStore, contents: Contents) -> None:
    now = await contents.clock()
    before = running(now)
    await contents.seed(before)
    steps = StepBatch(1, (note('{"a":1}', 7), note('{"b":2}')))
    settlement = Settlement(task_id="t1", fence=1, kind="success", result="42", steps=steps)
    for _ in range(2):
        assert await audited.settle([settlement]) == ["ok"]
    end = succeeded(now, result="42")
    end["task:t1"] |= two_noted(now)["task:t1"]
    end["events:t1"] = Stream([*two_noted(now)["events:t1"], *end["events:t1"]])
    await contents.check(changed(before, end))


async def test_a_batch_for_many_tasks_gives_each_its_word(audited: TaskStore) -> None:
    for task_id in ("t1", "t2"):
        await audited.submit(NewTask(task_id=task_id, caller="alice", message="x", model="M"))
    await audited.claim("w1", 1, room=2, extra=0, models={"M": None})
    words = await audited.step([("t1", 1, StepBatch(1, TWO)), ("t2", 7, StepBatch(1, TWO))])
    assert words == ["ok", "lease_lost"]
    assert [(await audited.get(task_id)).steps for task_id in ("t1", "t2")] == [2, 0]


async def test_a_task_keeps_a_bounded_number_of_steps(audited: TaskStore, contents: Contents) -> None:
    await contents.seed(with_task(running, steps=998, step_bytes=5)(await contents.clock()))
    for _ in range(2):
        assert await audited.step([("t1", 1, StepBatch(1, tuple(note("{}") for _ in range(5))))]) == ["ok"]
    record = await audited.get("t1")
    assert (record.steps, record.steps_dropped) == (1000, 3)
    assert await contents.client.xlen(contents.prefix + "events:t1") == 2 + 2


async def test_a_task_keeps_a_bounded_size_of_steps(audited: TaskStore, contents: Contents) -> None:
    await contents.seed(running(await contents.clock()))
    large = '{"x":"' + "y" * 300_000 + '"}'
    await audited.step([("t1", 1, StepBatch(1, tuple(note(large) for _ in range(6))))])
    record = await audited.get("t1")
    assert (record.steps, record.steps_dropped) == (4, 2)


async def test_followers_are_told_once_a_batch(audited: TaskStore, contents: Contents) -> None:
    await contents.seed(running(await contents.clock()))
    async with contents.client.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.subscribe(contents.prefix + "events:t1")
        await pubsub.get_message(timeout=5)
        await audited.step([("t1", 1, StepBatch(1, TWO))])
        await audited.cancel("t1")
        heard = [message async for message in _messages(pubsub, 2)]
    (last, _), *_ = await contents.client.xrevrange(contents.prefix + "events:t1", count=1)
    assert heard[1] == last, "the second is the cancel's"


async def _messages(pubsub: Any, count: int) -> Any:
    async for message in pubsub.listen():
        yield message["data"]
        count -= 1
        if not count:
            return


START = '{"kind":"model","phase":"start","number":1,"name":"M"}'
END = (
    '{"kind":"model","phase":"end","number":1,"name":"M","result":"hi","duration_ms":250,"cost_usd":0.25,'
    '"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"cached_tokens":0,"reasoning_tokens":0}}'
)
TOOL = '{"kind":"tool","phase":"start","number":2,"name":"adder","arguments":"{}"}'
FAILED = '{"kind":"tool","phase":"end","number":2,"name":"adder","arguments":"{}","error":"no","duration_ms":3}'


async def read(store: TaskStore) -> list[tuple[Any, ...]]:
    history = await store.history("t1", "alice")
    return [
        (step.attempt, step.number, step.kind, step.name, step.state, step.duration_ms)
        for step in steps_of(history.record, history.events)
    ]


async def test_a_beginning_and_an_end_are_one_step(audited: TaskStore, contents: Contents) -> None:
    await contents.seed(running(await contents.clock()))
    await audited.step([("t1", 1, StepBatch(1, (note(START),)))])
    assert await read(audited) == [(1, 1, "model", "M", "running", None)]
    await audited.step([("t1", 1, StepBatch(2, (note(END), note(TOOL))))])
    assert await read(audited) == [(1, 1, "model", "M", "done", 250), (1, 2, "tool", "adder", "running", None)]
    history = await audited.history("t1", "alice")
    model, tool = steps_of(history.record, history.events)
    assert (model.result, model.usage, model.cost_usd) == ("hi", TokenUsage(10, 5, 15), 0.25)
    assert (tool.arguments, tool.usage, tool.cost_usd) == ("{}", None, None)
    assert 0 <= (history.now - model.started_at).total_seconds() < 60
    await audited.step([("t1", 1, StepBatch(4, (note(FAILED),)))])
    assert (await read(audited))[1] == (1, 2, "tool", "adder", "failed", 3)


async def test_a_step_whose_attempt_ended_without_it_is_unfinished(audited: TaskStore, contents: Contents) -> None:
    await contents.seed(running(await contents.clock()))
    await audited.step([("t1", 1, StepBatch(1, (note(START),)))])
    await audited.sweep("w1")
    assert await read(audited) == [(1, 1, "model", "M", "unfinished", None)]
    await audited.claim("w2", 1, room=1, extra=0, models={"M": None})
    await audited.step([("t1", 2, StepBatch(1, (note(START),)))])
    assert await read(audited) == [(1, 1, "model", "M", "unfinished", None), (2, 1, "model", "M", "running", None)]


async def test_another_callers_history_looks_as_if_it_were_not_there(audited: TaskStore, contents: Contents) -> None:
    await contents.seed(running(await contents.clock()))
    for task_id, caller in (("t1", "mallory"), ("t9", "alice"), ("t9", "*")):
        with pytest.raises(TaskNotFound):
            await audited.history(task_id, caller)
