"""A replay sent again, whatever its task has become since: it answers, and changes nothing. And in a full queue."""

import pytest

from core_config import Settings
from taskstore.claims import SettleKind, Settlement
from taskstore.errors import QueueFull, WrongStatus
from taskstore.records import NewTask
from taskstore.states import Status
from taskstore.store import TaskStore

from .state import Contents
from .worlds import failed, waiting

MODELS = {"M": None, "N": None}


async def settled(store: TaskStore, kind: SettleKind) -> None:
    number = len((await store.history("t1")).events)  # only so that each claim is one of its own
    (claim,) = (await store.claim("w1", number, room=1, extra=0, models=MODELS)).tasks
    await store.settle([Settlement(task_id="t1", fence=claim.fence, kind=kind, error_code="internal", result="x")])


async def again(store: TaskStore, contents: Contents, model: str | None = "N") -> Status:
    before = await contents.snapshot()
    try:
        return await store.replay("t1", model=model)
    finally:
        found = await contents.snapshot()
        for snapshot in (before, found):
            snapshot.pop("ttl", None)  # which runs on
        assert found == before, "a repeat changes nothing"


async def test_a_replay_sent_again_answers_how_it_stands(audited: TaskStore, contents: Contents) -> None:
    await contents.seed(failed(await contents.clock()))
    assert await audited.replay("t1", model="N") is Status.PENDING
    assert await again(audited, contents) is Status.PENDING
    claimed = await audited.claim("w1", 1, room=1, extra=0, models=MODELS)
    assert [task.model for task in claimed.tasks] == ["N"]
    assert await again(audited, contents) is Status.RUNNING
    await audited.settle([Settlement(task_id="t1", fence=2, kind="retry", delay_ms=0)])
    assert await again(audited, contents) is Status.RETRYING
    await settled(audited, "success")
    assert await again(audited, contents) is Status.SUCCESS
    for another in ("M", "O"):
        with pytest.raises(WrongStatus):
            await again(audited, contents, another)
    # without a model it is the same request: the model is N by now
    assert await again(audited, contents, None) is Status.SUCCESS


async def test_a_replayed_task_that_failed_again_is_replayed_again(audited: TaskStore, contents: Contents) -> None:
    await contents.seed(failed(await contents.clock()))
    for number, model in enumerate(("N", "M", None), 1):
        await audited.replay("t1", model=model)
        record = await audited.get("t1")
        assert (record.status, record.model, record.attempt) == (Status.PENDING, model or "M", number)
        assert (record.error, record.error_code, record.answered_by) == (None, None, None)
        await settled(audited, "bury")
    replays = [event for event in (await audited.history("t1")).events if event.cause == "replayed"]
    assert [event.model for event in replays] == ["N", "M", None]


async def test_a_decision_sent_again_after_a_claim_is_no_other_decision(audited: TaskStore, contents: Contents) -> None:
    await contents.seed(waiting(await contents.clock()))
    assert await audited.decide("t1", '{"approve":true}', "alice") is Status.PENDING
    await audited.claim("w1", 1, room=1, extra=0, models=MODELS)
    assert await audited.decide("t1", '{"approve":true}', "alice") is Status.RUNNING
    with pytest.raises(WrongStatus):
        await audited.decide("t1", '{"approve":false}', "alice")


async def test_a_full_queue_takes_a_replay_and_then_counts_it(
    store: TaskStore, settings: Settings, contents: Contents
) -> None:
    small = TaskStore(store.redis, settings.model_copy(update={"queue_max_depth": 1}))
    await contents.seed(failed(await contents.clock()))
    await small.submit(NewTask(task_id="t2", caller="alice", message="x", model="M"))
    assert await small.replay("t1") is Status.PENDING
    await small.cancel("t2")
    with pytest.raises(QueueFull):
        await small.submit(NewTask(task_id="t3", caller="alice", message="x", model="M"))
    assert await small.audit() == []
