"""Every status with every verb that its row of the table does not have: the answer's word, and nothing has changed."""

from typing import Any

import pytest

from taskstore.errors import TaskNotFound, WrongStatus
from taskstore.records import NewTask, WorkerInfo
from taskstore.states import TRANSITIONS, Status
from taskstore.store import TaskStore

from .edges import Act, cancel, claim, claimed, decide, joined, replay, settle, sweep, swept
from .state import Contents, State, ZSet, changed
from .worlds import WORLDS, World, due, retrying_ready, running, with_task
from .worlds import swept as half_a_second_ago

SETTLE_KINDS = {
    "succeed": "success", "fail": "fail", "retry": "retry", "bury": "bury", "suspend": "suspend", "release": "release",
    "stop": "cancelled",
}  # fmt: skip
ALL = WORLDS | {"rescued": with_task(retrying_ready, settled="0")}


def forbidden(verb: str) -> list[Any]:
    starts = TRANSITIONS[verb][0]
    return [
        pytest.param(verb, make, id=f"{verb}-{name}")
        for name, make in ALL.items()
        if Status(make(0)["task:t1"]["status"]) not in starts
    ]


def each(*verbs: str) -> list[Any]:
    return [param for verb in verbs for param in forbidden(verb)]


async def unchanged_by(store: TaskStore, contents: Contents, make: World, act: Act) -> tuple[str, Any]:
    """Runs the verb on the seeded world and returns the task's status and the answer; nothing may have changed."""
    before = make(await contents.clock())
    await contents.seed(before)
    answer: Any
    try:
        answer = await act(store)
    except WrongStatus as refusal:
        answer = refusal.status
    await contents.check(before)
    return before["task:t1"]["status"], answer


@pytest.mark.parametrize(("verb", "make"), each(*SETTLE_KINDS))
@pytest.mark.parametrize("fence", [0, 1, 2])
async def test_a_settle_of_what_does_not_run_writes_nothing(
    verb: str, make: World, fence: int, audited: TaskStore, contents: Contents
) -> None:
    _, answer = await unchanged_by(audited, contents, make, settle(SETTLE_KINDS[verb], fence=fence))
    # that fence's outcome is what the record holds: the worker asks again after a lost reply
    repeat = fence == 1 and str(make(0)["task:t1"].get("settled")) == "1"
    assert answer == ["ok" if repeat else "lease_lost"]


@pytest.mark.parametrize("kind", SETTLE_KINDS.values())
@pytest.mark.parametrize("fence", [0, 2])
async def test_a_settle_with_another_fence_writes_nothing(
    kind: str, fence: int, audited: TaskStore, contents: Contents
) -> None:
    assert await unchanged_by(audited, contents, running, settle(kind, fence=fence, result="x")) == (
        "running", ["lease_lost"],
    )  # fmt: skip


@pytest.mark.parametrize(("verb", "make"), each("cancel", "decide", "replay"))
async def test_a_request_that_the_status_forbids_is_refused_by_its_name(
    verb: str, make: World, audited: TaskStore, contents: Contents
) -> None:
    act = {"cancel": cancel, "decide": decide, "replay": replay}[verb]
    status, answer = await unchanged_by(audited, contents, make, act)
    assert answer == status


NOT_DUE = ("scheduled", "blocked", "retrying")
UNCLAIMABLE = [*each("claim"), *(pytest.param("claim", WORLDS[name], id=f"claim-{name}") for name in NOT_DUE)]


@pytest.mark.parametrize(("verb", "make"), UNCLAIMABLE)
async def test_a_claim_takes_nothing_else(verb: str, make: World, audited: TaskStore, contents: Contents) -> None:
    now = await contents.clock()
    before = make(now)
    await contents.seed(before)
    assert await claim(audited) == []
    await contents.check(changed(before, claimed(now, "{}")))


def swept_only(now: int, before: State) -> State:
    state = swept(now)
    if "*" in before.get("fair", {}):
        passed = [flow for flow, last in before["fair"].items() if flow != "*" and float(last) <= 1]
        state["fair"] = dict.fromkeys(passed)
    return state


@pytest.mark.parametrize(("verb", "make"), each("rescue", "expire"))
async def test_a_sweep_leaves_alone_what_is_neither_lost_nor_late(
    verb: str, make: World, audited: TaskStore, contents: Contents
) -> None:
    """A final task, or one that no worker holds, has nothing to rescue; a final or running one does not expire."""
    now = await contents.clock()
    before = half_a_second_ago(due(make, -100) if verb == "expire" else make)(now)
    await contents.seed(before)
    assert await sweep()(audited) == {}
    # a running task is its worker's to time out; the sweep notes to look again when it is 30 s late
    late = verb == "expire" and before["task:t1"]["status"] == "running"
    again: State = {"live": ZSet(t1=now - 100 + 30_000)} if late else {}
    await contents.check(changed(before, joined(swept_only(now, before), again)))


WORKER = WorkerInfo("w1", "host", 42, "1", 5, 0)


@pytest.mark.parametrize("fence", [0, 2])
async def test_a_renew_with_another_fence_renews_nothing(fence: int, audited: TaskStore, contents: Contents) -> None:
    now = await contents.clock()
    before = running(now)
    await contents.seed(before)
    assert await audited.renew(WORKER, [("t1", fence), ("t9", 1)]) == {"t1": "lost", "t9": "lost"}
    assert await contents.client.zscore(contents.prefix + "leases:M:b", "t1") == before["leases:M:b"]["t1"]


async def test_another_callers_task_looks_as_if_it_were_not_there(audited: TaskStore, contents: Contents) -> None:
    before = WORLDS["waiting"](await contents.clock())
    await contents.seed(before)
    for task_id, caller in (("t1", "mallory"), ("t9", "alice"), ("t9", "*")):
        with pytest.raises(TaskNotFound):
            await audited.get(task_id, caller)
        with pytest.raises(TaskNotFound):
            await audited.cancel(task_id, caller)
        with pytest.raises(TaskNotFound):
            await audited.decide(task_id, "{}", caller)
    with pytest.raises(TaskNotFound):
        await audited.replay("t9")
    await contents.check(before)


@pytest.mark.parametrize("name", WORLDS)
async def test_reading_changes_nothing(name: str, audited: TaskStore, contents: Contents) -> None:
    before = WORLDS[name](await contents.clock())

    async def read(store: TaskStore) -> Any:
        await store.overview()
        record = await store.get("t1", "alice")
        return record.status

    status, answer = await unchanged_by(audited, contents, lambda _: before, read)
    assert answer == status


@pytest.mark.parametrize("name", WORLDS)
async def test_a_submit_of_an_id_that_is_there_writes_nothing(
    name: str, audited: TaskStore, contents: Contents
) -> None:
    async def submit(store: TaskStore) -> Any:
        return await store.submit(NewTask(task_id="t1", caller="alice", message="another", model="M"))

    status, answer = await unchanged_by(audited, contents, WORLDS[name], submit)
    assert (answer.created, answer.status) == (False, status)
