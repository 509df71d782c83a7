"""Work and answers that are data, in the store: kept as text, in their own order, through every verb."""

import json
from typing import Any

import orjson

from core_config import Settings
from taskstore.claims import Claim, SettleKind, Settlement
from taskstore.listing import TaskFilter
from taskstore.records import NewTask
from taskstore.store import TaskStore

from .state import Contents

INPUT: dict[str, Any] = {"z": "多少 é", "a": [1, None, {"b": 1.5}], "empty": {}, "none": []}
SCHEMA: dict[str, Any] = {"type": "object", "required": [], "properties": {}, "enum": [[], {}]}


def new(task_id: str, **fields: Any) -> NewTask:
    return NewTask(**{"task_id": task_id, "caller": "alice", "message": "", "model": "M", "input": INPUT, **fields})


async def claim(store: TaskStore, number: int) -> Claim:
    (task,) = (await store.claim("w1", number, room=1, extra=0, models={"M": None})).tasks
    return task


async def succeed(store: TaskStore, task: Claim, **outcome: Any) -> None:
    one = Settlement(task_id=task.task_id, fence=task.fence, kind="success", **outcome)
    assert await store.settle([one]) == ["ok"]


async def test_they_come_out_as_they_went_in(audited: TaskStore, contents: Contents) -> None:
    await audited.submit(new("t1", output_schema=SCHEMA))
    fields = (await contents.snapshot())["task:t1"]
    assert (fields["message"], fields["input"]) == ("", json.dumps(INPUT, ensure_ascii=False))
    task = await claim(audited, 1)
    assert (task.input, task.output_schema) == (INPUT, SCHEMA)
    assert list(task.input or ()) == list(INPUT)
    again = await claim(audited, 1)
    assert (again.input, again.output_schema) == (INPUT, SCHEMA), "a lost reply is given again whole"
    data = {"é": [1, {}, []]}
    text = json.dumps(data, ensure_ascii=False)
    await succeed(audited, task, result=text, result_json=text)
    record = await audited.get("t1")
    assert (record.input, record.output_schema, record.result, record.result_json) == (INPUT, SCHEMA, text, data)


async def test_a_task_of_a_message_has_none_of_them(audited: TaskStore, contents: Contents) -> None:
    await audited.submit(new("t1", message="m", input=None))
    task = await claim(audited, 1)
    assert (task.input, task.output_schema) == (None, None)
    await succeed(audited, task, result="text")
    assert {"input", "output_schema", "result_json"}.isdisjoint((await contents.snapshot())["task:t1"])
    record = await audited.get("t1")
    assert (record.input, record.output_schema, record.result_json) == (None, None, None)


async def test_they_outlive_a_retry_a_release_and_a_replay(audited: TaskStore) -> None:
    await audited.submit(new("t1", output_schema=SCHEMA))
    kinds: tuple[SettleKind, ...] = ("release", "retry", "fail")
    for number, kind in enumerate(kinds, 1):
        task = await claim(audited, number)
        assert (task.input, task.output_schema) == (INPUT, SCHEMA)
        await audited.settle([Settlement(task_id="t1", fence=task.fence, kind=kind)])
    await audited.replay("t1")
    task = await claim(audited, 4)
    assert (task.input, task.output_schema) == (INPUT, SCHEMA)


async def test_they_are_forgotten_with_their_record(audited: TaskStore, contents: Contents, settings: Settings) -> None:
    await audited.submit(new("t1"))
    await succeed(audited, await claim(audited, 1), result="{}", result_json="{}")
    ttl = (await contents.snapshot())["ttl"]["task:t1"]
    assert 0 < ttl <= settings.result_ttl_seconds * 1000 + 60_000


async def test_a_session_remembers_an_input(audited: TaskStore) -> None:
    await audited.submit(new("t1", session_id="s"))
    await succeed(audited, await claim(audited, 1), result='{"a": 1}', result_json='{"a": 1}')
    await audited.submit(new("t2", session_id="s", message="and now?", input=None))
    (turn,) = (await claim(audited, 2)).history
    assert (turn.message, turn.answer) == (json.dumps(INPUT, ensure_ascii=False), '{"a": 1}')


async def test_a_list_says_what_was_asked(audited: TaskStore) -> None:
    long = {"text": "é" * 2000}
    await audited.submit(new("t1"))
    await audited.submit(new("t2", input=long))
    page = await audited.list_tasks(TaskFilter(), limit=10)
    said = {task.task_id: task.message for task in page.tasks}
    assert orjson.loads(said["t1"]) == INPUT
    assert json.dumps(long, ensure_ascii=False).startswith(said["t2"])
    assert 796 < len(said["t2"].encode()) <= 800, "cut, and not in the middle of a character"
    assert [task.result_json for task in page.tasks] == [None, None]
