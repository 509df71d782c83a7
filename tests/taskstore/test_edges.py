"""Every edge of a task's life: exact contents before, one verb, exact contents after; and the same verb once more."""

import pytest

from taskstore.states import TRANSITIONS
from taskstore.store import TaskStore

from .edges import Case, swept
from .edges_others import OTHER_CASES
from .edges_worker import WORKER_CASES
from .state import Contents, changed

CASES = [*WORKER_CASES, *OTHER_CASES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_an_edge_changes_what_it_says_and_nothing_else(
    case: Case, audited: TaskStore, contents: Contents
) -> None:
    now = await contents.clock()
    before = case.before(now)
    await contents.seed(before)
    assert before["task:t1"]["status"] == case.start

    assert await case.act(audited) == case.answer

    await contents.check(changed(before, case.changes(now)))
    assert await contents.client.hget(contents.prefix + "task:t1", "status") == case.end


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_verb_sent_twice_answers_as_the_first_time_and_changes_nothing_more(
    case: Case, audited: TaskStore, contents: Contents
) -> None:
    now = await contents.clock()
    await contents.seed(case.before(now))
    first = await case.act(audited)
    after_one = await contents.snapshot()

    second = await case.act(audited)

    # a sweep answers what it did, and the second has nothing left to do
    assert second == ({} if "swept" in after_one else first)
    if "swept" in after_one:
        after_one = changed(after_one, swept(now))
    await contents.check(after_one)


def test_every_edge_of_the_table_has_a_case() -> None:
    for verb, (starts, ends) in TRANSITIONS.items():
        cases = [case for case in CASES if case.verb == verb]
        assert {case.start for case in cases} == {status.value for status in starts}, verb
        assert {case.end for case in cases} == {status.value for status in ends}, verb
    assert {case.verb for case in CASES} == TRANSITIONS.keys()
