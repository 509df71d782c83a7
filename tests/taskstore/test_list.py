"""Listing: newest first, own only, by every filter, page after page without a gap or a repeat."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskstore import store as store_module
from taskstore.listing import Cursor, TaskFilter, bound_ms
from taskstore.records import NewTask
from taskstore.states import Status
from taskstore.store import ANY_CALLER, TaskStore

from .state import Contents, State, ZSet
from .worlds import record

START = 1_790_000_000_000
ALL = TaskFilter()


def task_id(number: int) -> str:
    return f"{number:032x}"


def world(tasks: list[dict[str, Any]]) -> State:
    """Tasks as seeds: number n of the list has id n and was created n seconds after START unless it says otherwise."""
    state: State = {"callers": set(), "ttl": {}}
    for number, fields in enumerate(tasks):
        caller = fields.get("caller", "alice")
        created = fields.get("created_at", START + number * 1000)
        state[f"task:{task_id(number)}"] = record(START, **{"created_at": created, **fields})
        state["callers"].add(caller)
        state.setdefault(f"caller:{caller}", ZSet())[task_id(number)] = created
    return state


async def pages(
    store: TaskStore, wanted: TaskFilter = ALL, *, limit: int = 100, caller: str = "alice"
) -> list[list[int]]:
    """The numbers on each page, to the last."""
    found, after = [], None
    while True:
        page = await store.list_tasks(wanted, limit=limit, after=after, caller=caller)
        found.append([int(task.task_id, 16) for task in page.tasks])
        assert len(found) < 300, "it never ends"
        if page.next is None:
            return found
        after = Cursor.parse(str(page.next))


async def test_own_tasks_come_newest_first_and_anothers_never(store: TaskStore, contents: Contents) -> None:
    before = world([{}, {"caller": "bob"}, {}, {"caller": "bob"}, {}])
    await contents.seed(before)
    assert await pages(store) == [[4, 2, 0]]
    assert await pages(store, caller="bob") == [[3, 1]]
    assert await pages(store, caller="nobody") == [[]]
    assert await pages(store, caller=ANY_CALLER) == [[4, 3, 2, 1, 0]]
    await contents.check(before)


@pytest.mark.parametrize("caller", ["alice", ANY_CALLER])
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_pages_have_no_gap_and_no_repeat_also_within_a_millisecond(
    limit: int, caller: str, store: TaskStore, contents: Contents
) -> None:
    """Sixty-five of each caller, most of them created in the same millisecond: more than a chunk of the script's."""
    same = [{"created_at": START + 5_000} for _ in range(55)]
    mine: list[dict[str, Any]] = [{} for _ in range(5)] + same + [{"created_at": START + 9_000 + n} for n in range(5)]
    others = [] if caller == "alice" else [{**fields, "caller": "bob"} for fields in mine]
    tasks = mine + others
    await contents.seed(world(tasks))
    expected = sorted(range(len(tasks)), key=lambda n: (tasks[n].get("created_at", START + n * 1000), n), reverse=True)
    found = await pages(store, limit=limit, caller=caller)
    assert [number for page in found for number in page] == expected
    assert {len(page) for page in found[:-1]} <= {limit}


async def test_a_page_goes_on_where_it_was_although_tasks_came_and_went(store: TaskStore, contents: Contents) -> None:
    await contents.seed(world([{} for _ in range(6)]))
    first = await store.list_tasks(ALL, limit=2, caller="alice")
    assert first.next is not None
    client, prefix = contents.client, contents.prefix
    # its last one was forgotten, another one lost its record, and a new one came
    await client.zrem(prefix + "caller:alice", task_id(4))
    await client.delete(prefix + f"task:{task_id(3)}")
    await store.submit(NewTask(task_id=task_id(99), caller="alice", message="new", model="M"))
    second = await store.list_tasks(ALL, limit=2, after=first.next, caller="alice")
    assert [int(task.task_id, 16) for task in second.tasks] == [2, 1]


FILTERED: list[tuple[dict[str, Any], TaskFilter]] = [
    ({"status": "failed"}, TaskFilter(statuses=frozenset({Status.FAILED}))),
    ({"status": "retrying"}, TaskFilter(statuses=frozenset({Status.RETRYING, Status.RUNNING}))),
    ({"session_id": "s 1"}, TaskFilter(session_id="s 1")),
    ({"user_id": "ü"}, TaskFilter(user_id="ü")),
    ({"agent": "helper"}, TaskFilter(agent="helper")),
    ({"model": "N"}, TaskFilter(model="N")),
    ({"metadata": '{"order":7,"a":{"order":8}}'}, TaskFilter(metadata={"order": "7"})),
    ({"metadata": '{"x":1,"who":"ü\\"=b"}'}, TaskFilter(metadata={"who": 'ü"=b', "x": "1.0"})),
    ({"metadata": '{"a \\"b":true,"n":null}'}, TaskFilter(metadata={'a "b': "true", "n": "null"})),
    ({"user_id": "u", "model": "N"}, TaskFilter(user_id="u", model="N")),
]


@pytest.mark.parametrize(("fields", "wanted"), FILTERED, ids=lambda value: str(value)[:40])
async def test_a_filter_lets_through_what_is_like_it(
    fields: dict[str, Any], wanted: TaskFilter, store: TaskStore, contents: Contents
) -> None:
    near = [{name: f"{value}x"} for name, value in fields.items() if name not in {"metadata", "status"}]
    near += [{"metadata": text} for text in ('{"order":8,"b":{"order":7}}', '{"who":"7","x":1}', '{"n":[null]}')]
    await contents.seed(world([*near, fields, *near, {**fields, "caller": "bob"}]))
    assert await pages(store, wanted) == [[len(near)]]


async def test_a_text_that_looks_like_a_pattern_is_only_a_text(store: TaskStore, contents: Contents) -> None:
    await contents.seed(world([{"metadata": '{"a.*":"%d"}'}, {"metadata": '{"abc":"1"}'}]))
    assert await pages(store, TaskFilter(metadata={"a.*": "%d"})) == [[0]]
    assert await pages(store, TaskFilter(metadata={"a.*": "1"})) == [[]]


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


async def test_since_is_included_and_until_is_not(store: TaskStore, contents: Contents) -> None:
    await contents.seed(world([{} for _ in range(6)]))
    wanted = TaskFilter(since=at(START + 1000), until=at(START + 4000))
    assert await pages(store, wanted) == [[3, 2, 1]]
    assert await pages(store, wanted, limit=2) == [[3, 2], [1]]
    assert await pages(store, replace(wanted, until=None)) == [[5, 4, 3, 2, 1]]
    assert await pages(store, replace(wanted, since=None), caller=ANY_CALLER) == [[3, 2, 1, 0]]


@pytest.mark.parametrize("ms", [0, 1, 1_790_000_000_001, 1_790_000_000_999, 1_732_184_519_283])
def test_a_bound_is_exact_to_the_millisecond(ms: int) -> None:
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    assert bound_ms(time) == str(ms)
    assert bound_ms(time + timedelta(microseconds=1)) == str(ms + 1)
    assert bound_ms(time - timedelta(microseconds=1)) == str(ms)


async def test_a_page_that_looks_at_too_much_stops_and_says_where_to_go_on(
    store: TaskStore, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    await contents.seed(world([{"user_id": "rare"}, *({} for _ in range(29))]))
    monkeypatch.setattr(store_module, "MOST_LOOKED_AT", 10)
    page = await store.list_tasks(TaskFilter(user_id="rare"), limit=5, caller="alice")
    assert (page.tasks, page.stopped_early) == ([], True)
    assert page.next == Cursor(START + 20_000, task_id(20))
    assert await pages(store, TaskFilter(user_id="rare"), limit=5) == [[], [], [0]]


async def test_large_metadata_counts_for_many_tasks(
    store: TaskStore, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = '{"key":"' + "x" * 16_000 + '"}'
    await contents.seed(world([{"metadata": large} for _ in range(8)]))
    monkeypatch.setattr(store_module, "MOST_LOOKED_AT", 40)
    page = await store.list_tasks(TaskFilter(metadata={"key": "y"}), limit=5, caller="alice")
    assert page.stopped_early
    assert page.next == Cursor(START + 5_000, task_id(5))


async def test_a_list_has_the_beginning_of_a_message_and_no_result(store: TaskStore, contents: Contents) -> None:
    message = "计算 🙂é" * 1000
    await contents.seed(world([{"message": message, "status": "success", "result": "long", "partial": "p", "at": ""}]))
    (task,) = (await store.list_tasks(ALL, limit=5, caller="alice")).tasks
    assert len(task.message) > 200
    assert message.startswith(task.message)
    assert (task.result, task.partial, task.status) == (None, None, Status.SUCCESS)


async def test_a_name_goes_with_its_callers_last_task(audited: TaskStore, contents: Contents) -> None:
    for caller in ("alice", "bob"):
        await audited.submit(NewTask(task_id=task_id(len(caller)), caller=caller, message="x", model="M"))
    assert await contents.client.smembers(contents.prefix + "callers") == {"alice", "bob"}
    await audited.cancel(task_id(3))
    await contents.client.zadd(contents.prefix + "gone", {f"{task_id(3)} bob": 1})
    await audited.sweep()
    assert await contents.client.smembers(contents.prefix + "callers") == {"alice"}
    assert await pages(audited, caller=ANY_CALLER) == [[5]]


@pytest.mark.parametrize(
    "text",
    ["", "x", "!!!!", "MTIz", "é", "MSB" + "A" * 90, str(Cursor(5, "g" * 32)), str(Cursor(5, "a" * 31)),
     str(Cursor(5, "a" * 32)) + "=", str(Cursor(10**16, "a" * 32)), str(Cursor(5, "A" * 32)),
     str(Cursor(5, "a" * 32))[:-1]],
)  # fmt: skip
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no cursor"):
        Cursor.parse(text)


def test_a_cursor_is_what_it_was() -> None:
    cursor = Cursor(START, "0123456789abcdef" * 2)
    assert Cursor.parse(str(cursor)) == cursor
