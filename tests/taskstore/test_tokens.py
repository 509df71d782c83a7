"""What models say: in the stream under the fence, once however often it is sent, bounded, for who follows it."""

import time

import pytest

from taskstore.records import NewTask
from taskstore.steps import StepBatch, StepNote
from taskstore.store import TaskStore

from .state import About, Contents, Stream, changed
from .worlds import running, with_task

MOST, MOST_BYTES = 3000, 1_048_576


def token(text: str, *more: str | int, kind: str = "text", ago_s: float = 0) -> StepNote:
    return StepNote(text, time.monotonic() - ago_s, ("token", 3, kind, *more))


def entry(now: int, text: str, ago: int = 0, **more: object) -> dict[str, object]:
    return {
        "type": "token", "status": "running", "attempt": 1, "fence": 1, "at": About(now - ago), "number": 3,
        "kind": "text", "text": text, **more,
    }  # fmt: skip


async def test_words_stand_in_order_with_the_steps_and_once(audited: TaskStore, contents: Contents) -> None:
    now = await contents.clock()
    before = running(now)
    await contents.seed(before)
    step = StepNote('{"a":1}', time.monotonic())
    batch = StepBatch(1, (token("Hi", ago_s=7), token("ö", 12, kind="reasoning"), step))
    for _ in range(2):
        assert await audited.step([("t1", 1, batch)]) == ["ok"]
    said = {"type": "step", "status": "running", "attempt": 1, "fence": 1, "at": About(now), "step": '{"a":1}'}
    await contents.check(
        changed(
            before,
            {
                "task:t1": {"stepped": "1 3", "steps": 1, "step_bytes": 7, "tokens": 2, "token_bytes": 4},
                "events:t1": Stream([entry(now, "Hi", 7_000), entry(now, "ö", kind="reasoning", lost=12), said]),
            },
        )
    )


@pytest.mark.parametrize("fence", [0, 2])
async def test_only_the_fence_of_the_claim_writes(audited: TaskStore, contents: Contents, fence: int) -> None:
    before = running(await contents.clock())
    await contents.seed(before)
    assert await audited.step([("t1", fence, StepBatch(1, (token("Hi"),)))]) == ["lease_lost"]
    await contents.check(before)


async def test_a_tasks_words_are_bounded_and_the_last_entry_says_so(
    audited: TaskStore, contents: Contents, store: TaskStore
) -> None:
    await contents.seed(with_task(running, tokens=MOST - 1, token_bytes=5)(await contents.clock()))
    words = (token("last"), token("tü much"), token("nothing"))
    for number in (1, 4):
        assert await audited.step([("t1", 1, StepBatch(number, words))]) == ["ok"]
    (stream,) = [value for key, value in (await contents.snapshot()).items() if key == "events:t1"]
    assert [(one["text"], one.get("lost")) for one in stream[-2:]] == [("last", None), ("", "7")]
    assert (await contents.snapshot())["task:t1"]["tokens"] == str(MOST + 1)


async def test_a_tasks_words_are_bounded_in_bytes_too(audited: TaskStore, contents: Contents) -> None:
    await contents.seed(with_task(running, tokens=1, token_bytes=MOST_BYTES - 3)(await contents.clock()))
    assert await audited.step([("t1", 1, StepBatch(1, (token("abc"), token("d"), token("e"))))]) == ["ok"]
    stream = (await contents.snapshot())["events:t1"]
    assert [one["text"] for one in stream[-2:]] == ["abc", ""]


async def test_a_tasks_history_is_read_without_them(audited: TaskStore, contents: Contents) -> None:
    await contents.seed(running(await contents.clock()))
    await audited.step([("t1", 1, StepBatch(1, (token("Hi"), StepNote('{"number":3}', time.monotonic()))))])
    assert "token" not in [event.type for event in (await audited.history("t1")).events]
    assert [event.step for event in (await audited.history("t1")).events if event.step] == [{"number": 3}]


@pytest.mark.parametrize("stream", [True, False])
async def test_the_claim_says_whether_anybody_wants_them(audited: TaskStore, stream: bool) -> None:
    await audited.submit(NewTask(task_id="t1", caller="alice", message="m", model="M", stream=stream))
    for _ in range(2):
        (claim,) = (await audited.claim("w1", 1, room=1, extra=0, models={"M": None})).tasks
        assert claim.stream is stream, "also when a lost reply is given again"
