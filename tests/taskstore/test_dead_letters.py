"""Listing dead letters: the last buried first, by every filter, page after page; and how long each is kept."""

from datetime import timedelta
from typing import Any

import pytest

from taskstore.events import moment
from taskstore.listing import TaskFilter
from taskstore.store import TaskStore

from .state import Contents, State, ZSet
from .test_list import START, pages, task_id, world

KEPT = 1_000_000


def letters(tasks: list[dict[str, Any]]) -> State:
    """Number n of the list was created n seconds after START and buried so many after it, unless that is None."""
    burials = [fields.pop("buried", None) for fields in tasks]
    state = world([{"status": "failed", "at": "", "error_code": "internal", **fields} for fields in tasks])
    state["dead"], state["gone"] = ZSet(), ZSet()
    for number, seconds in enumerate(burials):
        fields = state[f"task:{task_id(number)}"]
        ended = START + 1000 * (seconds or 0)
        fields["completed_at"] = ended
        state["gone"][f"{task_id(number)} {fields['caller']}"] = ended + KEPT
        if seconds is not None:
            state["dead"][task_id(number)] = ended
    return state


MIXED: list[dict[str, Any]] = [
    {"buried": 900, "agent": "a"},
    {"buried": None},
    {"buried": 100, "caller": "bob", "error_code": "worker_lost"},
    {"buried": 500, "model": "N", "error_code": "worker_lost"},
    {"buried": 500},
]


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ({}, [0, 4, 3, 2]),
        ({"error_code": "worker_lost"}, [3, 2]),
        ({"agent": "a"}, [0]),
        ({"model": "N"}, [3]),
        ({"model": "N", "error_code": "internal"}, []),
        ({"since": moment(str(START + 500_000))}, [0, 4, 3]),
        ({"since": moment(str(START + 500_000)), "until": moment(str(START + 500_001))}, [4, 3]),
        ({"since": moment(str(START + 900_001))}, []),
    ],
)
async def test_the_last_buried_come_first(
    wanted: dict[str, Any], numbers: list[int], store: TaskStore, contents: Contents
) -> None:
    before = letters([dict(fields) for fields in MIXED])
    await contents.seed(before)
    assert await pages(store, TaskFilter(dead=True, **wanted), caller="*") == [numbers]
    bobs = [number for number in numbers if number == 2]
    assert await pages(store, TaskFilter(dead=True, **wanted), caller="bob") == [bobs]
    one_a_page = [
        number for page in await pages(store, TaskFilter(dead=True, **wanted), limit=1, caller="*") for number in page
    ]
    assert one_a_page == numbers
    await contents.check(before)


async def test_an_error_code_filters_all_tasks_too(store: TaskStore, contents: Contents) -> None:
    await contents.seed(letters([dict(fields) for fields in MIXED]))
    assert await pages(store, TaskFilter(error_code="internal"), caller="*") == [[4, 1, 0]]


async def test_one_whose_record_redis_expired_is_not_shown(store: TaskStore, contents: Contents) -> None:
    state = letters([dict(fields) for fields in MIXED])
    del state[f"task:{task_id(0)}"]
    await contents.seed(state)
    assert await pages(store, TaskFilter(dead=True), caller="*") == [[4, 3, 2]]


async def test_only_a_dead_letter_says_when_it_is_forgotten(store: TaskStore, contents: Contents) -> None:
    await contents.seed(letters([dict(fields) for fields in MIXED]))
    until = {0: 900, 2: 100, 3: 500, 4: 500}
    expected = {
        number: moment(str(START)) + timedelta(milliseconds=KEPT, seconds=until[number]) if number in until else None
        for number in range(5)
    }
    page = await store.list_tasks(TaskFilter(), limit=10)
    assert {int(task.task_id, 16): task.dead_until for task in page.tasks} == expected
    for number, time in expected.items():
        assert (await store.get(task_id(number))).dead_until == time
        assert (await store.history(task_id(number))).record.dead_until == time
