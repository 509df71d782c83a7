"""Whatever clients and models write comes back as it was, to the character."""

from typing import Any

import pytest

from taskstore.claims import Settlement, Turn
from taskstore.records import NewTask
from taskstore.store import TaskStore

STRINGS = {
    "NUL": "a\x00b\x00",
    "emoji": "family \U0001f469\u200d\U0001f469\u200d\U0001f467 flag \U0001f1e9\U0001f1ea",
    "four bytes": "\U00020000\U0010ffff" * 50,
    "long": "é" * 32_000,
    "looks like JSON": '{"a": [1, 2.50, null], "b": "\\u0041"}',
    "looks like a number": "1e400",
    "Lua's": "%s %d \\0 [[x]] --",
    "lines": "\r\n\t\x0b\x1f\x7f\u2028\ufeff",
    "space": "  ",
    "chinese": "计算 42 * 1337 + 100 的结果",
}


@pytest.mark.parametrize("text", STRINGS.values(), ids=STRINGS)
async def test_a_text_survives_the_whole_way(text: str, audited: TaskStore) -> None:
    metadata = {"text": text, text[:40]: [text, {"deep": text}], "number": 12345678901234567, "float": 0.1}
    await audited.submit(
        NewTask(
            task_id="t1", caller="alice", message=text, model="M", user_id=text, session_id=f"s{text}",
            metadata=metadata, idempotency_key=text, body_sha256="abc",
        )
    )  # fmt: skip
    (task,) = (await audited.claim("w1", 1, room=1, extra=0, models={"M": None})).tasks
    assert (task.message, task.user_id, task.session_id, task.metadata) == (text, text, f"s{text}", metadata)
    settled = Settlement(task_id="t1", fence=1, kind="success", result=text, answered_by="M", cause=text)
    assert await audited.settle([settled]) == ["ok"]
    record = await audited.get("t1")
    assert (record.message, record.result, record.user_id, record.metadata) == (text, text, text, metadata)
    assert record.cause == text
    # and in the next task's memory
    await audited.submit(NewTask(task_id="t2", caller="alice", message=text, model="M", user_id=text,
                                 session_id=f"s{text}"))  # fmt: skip
    (following,) = (await audited.claim("w1", 2, room=1, extra=0, models={"M": None})).tasks
    assert following.history == [Turn(text, text)]
    await audited.settle(
        [Settlement(task_id="t2", fence=1, kind="fail", error=text, partial=text, error_code="internal")]
    )
    failed = await audited.get("t2")
    assert (failed.error, failed.partial) == (text, text)


async def test_an_empty_result_is_a_result(audited: TaskStore) -> None:
    await audited.submit(NewTask(task_id="t1", caller="alice", message="", model="M"))
    await audited.claim("w1", 1, room=1, extra=0, models={"M": None})
    await audited.settle([Settlement(task_id="t1", fence=1, kind="success", result="")])
    record = await audited.get("t1")
    assert (record.message, record.result, record.error) == ("", "", None)


async def test_half_an_emoji_of_a_model_becomes_a_replacement_character(audited: TaskStore) -> None:
    await audited.submit(NewTask(task_id="t1", caller="alice", message="x", model="M"))
    await audited.claim("w1", 1, room=1, extra=0, models={"M": None})
    result = "whole \ud83d\ude00, half \ud83d."
    assert await audited.settle([Settlement(task_id="t1", fence=1, kind="success", result=result)]) == ["ok"]
    assert (await audited.get("t1")).result == "whole \U0001f600, half \ufffd."


async def test_long_ids_and_odd_model_names_are_only_names(audited: TaskStore) -> None:
    names: dict[str, Any] = {"model": "Qwen/Max:2:i", "agent": "a b"}
    await audited.submit(
        NewTask(task_id="t" * 5_000, caller="c" * 500, message="x", metadata={"id": "x" * 9_000}, **names)
    )
    (task,) = (await audited.claim("w" * 900, 1, room=1, extra=0, models={names["model"]: 1})).tasks
    assert (task.task_id, task.model, task.agent, task.metadata) == (
        "t" * 5_000, names["model"], "a b", {"id": "x" * 9_000},
    )  # fmt: skip
