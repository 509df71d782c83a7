"""Who comes first: callers by turns, priority within one caller, somebody on the line before all of them."""

import pytest

from taskstore.claims import SettleKind, Settlement
from taskstore.records import Kind, NewTask
from taskstore.store import TaskStore

from .state import Contents

ANY = {"M": None}


class Worker:
    """Claims with a number for each."""

    def __init__(self, store: TaskStore, name: str = "w1") -> None:
        self.store = store
        self.name = name
        self.number = 0

    async def take(self, room: int = 1, extra: int = 0, models: dict[str, int | None] | None = None) -> list[str]:
        self.number += 1
        claimed = await self.store.claim(self.name, self.number, room=room, extra=extra, models=models or ANY)
        return [task.task_id for task in claimed.tasks]


async def queue(store: TaskStore, caller: str, count: int, model: str = "M", **fields: object) -> list[str]:
    ids = [f"{caller}-{fields.get('priority', 5)}-{fields.get('kind', 'b')}-{number:03}" for number in range(count)]
    for task_id in ids:
        await store.submit(NewTask(task_id=task_id, caller=caller, message="x", model=model, **fields))  # type: ignore[arg-type]  # each test names real ones
    return ids


async def test_ten_of_one_caller_come_within_the_first_thirty_behind_four_hundred(store: TaskStore) -> None:
    await queue(store, "a", 400)
    ten = await queue(store, "b", 10)
    worker = Worker(store)
    first = [task_id for _ in range(3) for task_id in await worker.take(10)]
    assert len(first) == 30
    assert set(ten) <= set(first)
    assert await store.audit() == []


async def test_a_caller_who_comes_while_others_run_does_not_wait_for_their_queue(store: TaskStore) -> None:
    await queue(store, "a", 60)
    worker = Worker(store)
    await worker.take(40)
    late = await queue(store, "b", 2)
    assert set(late) <= set(await worker.take(5))


async def test_an_urgent_task_passes_its_own_callers_queue(store: TaskStore) -> None:
    await queue(store, "a", 50)
    await queue(store, "a", 20, priority=1)
    urgent = await queue(store, "a", 3, priority=9)
    worker = Worker(store)
    assert await worker.take(3) == urgent
    # each step of priority is twice the share: while both wait, six steps are sixty-four to one
    await queue(store, "a", 8, priority=8)
    next_nine = await worker.take(9)
    assert sum("-8-" in task_id for task_id in next_nine) == 8
    assert not any("-1-" in task_id for task_id in next_nine)


async def test_priority_is_a_share_and_starves_nobody(store: TaskStore) -> None:
    await queue(store, "a", 30, priority=6)
    await queue(store, "a", 30, priority=5)
    first = await Worker(store).take(30)
    assert sum("-5-" in task_id for task_id in first) == 10


async def test_one_callers_tasks_of_one_priority_run_in_the_order_they_came(store: TaskStore) -> None:
    ids = await queue(store, "a", 20)
    assert await Worker(store).take(20) == ids


async def test_somebody_on_the_line_goes_first_and_may_use_the_extra_slots(audited: TaskStore) -> None:
    await queue(audited, "a", 10)
    chats = await queue(audited, "a", 6, kind=Kind.INTERACTIVE)
    worker = Worker(audited)
    # no room left but the extra slots
    assert await worker.take(0, extra=2) == chats[:2]
    taken = await worker.take(2, extra=1)
    assert taken == chats[2:5]
    # the last chat and one batch task: the extra slot is not for batch
    assert len(await worker.take(2, extra=1)) == 2
    assert await worker.take(0, extra=5) == []


@pytest.mark.parametrize("kind", Kind)
async def test_the_claim_says_whether_more_is_left_and_rings_for_the_next_worker(
    kind: Kind, audited: TaskStore, contents: Contents
) -> None:
    bell = f"{contents.prefix}bell:{kind.value}"
    await queue(audited, "a", 3, kind=kind)
    await contents.client.delete(bell)
    claimed = await audited.claim("w1", 1, room=2, extra=0, models=ANY)
    assert claimed.more
    assert await contents.client.lrange(bell, 0, -1) == ["1"]
    await contents.client.delete(bell)
    claimed = await audited.claim("w1", 2, room=2, extra=0, models=ANY)
    assert (len(claimed.tasks), claimed.more) == (1, False)
    # nothing left and nothing rung: a bell that rings for nothing would keep every worker busy claiming
    assert not await contents.client.exists(bell)


async def test_a_worker_with_only_extra_room_passes_the_batch_bell_on_and_does_not_ask_again(
    audited: TaskStore, contents: Contents
) -> None:
    await queue(audited, "a", 3)
    await contents.client.delete(contents.prefix + "bell:b")
    claimed = await audited.claim("w1", 1, room=0, extra=2, models=ANY)
    assert (list(claimed.tasks), claimed.more) == ([], False)
    assert await contents.client.lrange(contents.prefix + "bell:b", 0, -1) == ["1"]


async def test_tasks_behind_many_whose_time_is_over_are_not_forgotten(audited: TaskStore, contents: Contents) -> None:
    late = await queue(audited, "a", 8)
    (good,) = await queue(audited, "b", 1, priority=1)
    now = await contents.clock()
    for task_id in late:
        await contents.client.hset(f"{contents.prefix}task:{task_id}", "deadline_at", now - 100)
    await contents.client.delete(contents.prefix + "bell:b")
    taken = []
    for number in range(1, 10):
        claimed = await audited.claim("w1", number, room=1, extra=0, models=ANY)
        taken += [task.task_id for task in claimed.tasks]
        if not claimed.more:
            break
    assert taken == [good]


async def test_a_models_limit_holds_over_all_workers_and_leaves_other_models_alone(
    audited: TaskStore, contents: Contents
) -> None:
    await queue(audited, "a", 5)
    await queue(audited, "b", 2, kind=Kind.INTERACTIVE)
    others = await queue(audited, "c", 3, model="N")
    one, two = Worker(audited, "w1"), Worker(audited, "w2")
    limits: dict[str, int | None] = {"M": 3, "N": None}
    first = await one.take(2, models=limits)
    second = await two.take(10, models=limits)
    assert set(others) <= {*first, *second}
    assert len([task_id for task_id in first + second if task_id not in others]) == 3
    assert await one.take(10, models=limits) == []
    # a slot that is free again is filled, by whoever asks first, and the bell says so
    await contents.client.delete(contents.prefix + "bell:b")
    assert await audited.settle([Settlement(task_id=first[0], fence=1, kind="success", result="x")]) == ["ok"]
    assert await contents.client.exists(contents.prefix + "bell:b")
    assert len(await two.take(10, models=limits)) == 1
    assert await one.take(10, models=limits) == []


async def test_a_worker_takes_only_models_that_it_knows(audited: TaskStore) -> None:
    await queue(audited, "a", 2, model="N")
    worker = Worker(audited)
    assert await worker.take(5) == []
    assert len(await worker.take(5, models={"N": None})) == 2


async def come_back(store: TaskStore, contents: Contents, worker: Worker, task_id: str, how: str) -> None:
    if how == "rescue":
        await store.sweep(dead=worker.name)
        return
    kind: SettleKind = {"retry": "retry", "release": "release", "decide": "suspend"}[how]  # type: ignore[assignment]  # all three are kinds
    await store.settle([Settlement(task_id=task_id, fence=1, kind=kind)])
    if how == "decide":
        await store.decide(task_id, "{}")


@pytest.mark.parametrize("how", ["retry", "release", "rescue", "decide"])
async def test_a_task_that_comes_back_stands_in_front_of_those_that_came_later(
    how: str, audited: TaskStore, contents: Contents
) -> None:
    ids = await queue(audited, "a", 10)
    worker = Worker(audited)
    assert await worker.take(3) == ids[:3]
    await come_back(audited, contents, worker, ids[1], how)
    assert (await audited.get(ids[1])).queue_position in {0, 1}
    assert ids[1] in await worker.take(3)


async def test_the_queue_position_is_how_many_come_first(audited: TaskStore) -> None:
    ids = await queue(audited, "a", 3)
    assert [(await audited.get(task_id)).queue_position for task_id in ids] == [0, 1, 2]
    await Worker(audited).take(1)
    assert [(await audited.get(task_id)).queue_position for task_id in ids] == [None, 0, 1]


async def test_a_lost_answer_is_given_again_and_takes_nothing_more(audited: TaskStore) -> None:
    ids = await queue(audited, "a", 4)
    first = await audited.claim("w1", 7, room=3, extra=0, models=ANY)
    again = await audited.claim("w1", 7, room=3, extra=0, models=ANY)
    assert [task.task_id for task in first.tasks] == ids[:3]
    assert again.tasks == first.tasks
    # what was settled meanwhile is not given again
    await audited.settle([Settlement(task_id=ids[0], fence=1, kind="success", result="x")])
    assert list((await audited.claim("w1", 7, room=3, extra=0, models=ANY)).tasks) == list(first.tasks[1:])
    assert [task.task_id for task in (await audited.claim("w1", 8, room=3, extra=0, models=ANY)).tasks] == ids[3:]


async def test_a_claim_says_when_the_next_task_is_due_and_an_earlier_one_rings(
    audited: TaskStore, contents: Contents
) -> None:
    async def schedule(task_id: str, ms: int) -> None:
        due = await contents.clock() + ms
        await audited.submit(NewTask(task_id=task_id, caller="a", message="x", model="M", run_at_ms=due))

    bell = contents.prefix + "bell:b"
    assert (await audited.claim("w1", 1, room=1, extra=0, models=ANY)).next_due_ms is None
    await schedule("t1", 60_000)
    assert await contents.client.delete(bell)
    assert (await audited.claim("w1", 2, room=1, extra=0, models=ANY)).next_due_ms == pytest.approx(60_000, abs=1500)
    await schedule("t2", 90_000)
    assert not await contents.client.exists(bell)
    await schedule("t3", 30_000)
    assert await contents.client.exists(bell)
    assert (await audited.claim("w1", 3, room=1, extra=0, models=ANY)).next_due_ms == pytest.approx(30_000, abs=1500)


@pytest.mark.parametrize("kind", Kind)
async def test_a_bell_that_is_passed_on_holds_one_token(kind: Kind, audited: TaskStore, contents: Contents) -> None:
    for _ in range(2):
        await audited.ring(kind)
        await contents.check({f"bell:{kind.value}": ["1"]})
