"""Redis has reached maxmemory: nothing new comes in, what was let in ends, and nothing is half written."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core_config import Settings
from taskstore.claims import Settlement
from taskstore.connection import connect
from taskstore.errors import StorageFull
from taskstore.records import NewTask, WorkerInfo
from taskstore.store import TaskStore

from .conftest import LEASE_S, Stumbling, charged_nothing, is_refused
from .redis_process import StumblingRedis, until

BACKGROUND = ("lh:swept", "lh:worker", "lh:leases", "lh:agents", "lh:bell", "lh:holds", "lh:fair")
"""What renewals and sweeps go on writing, also in a full Redis."""


def of_tasks(stumbling: Stumbling) -> dict[str, bytes | None]:
    found = stumbling.redis.contents()
    return {key: value for key, value in found.items() if not key.startswith(BACKGROUND)}


def test_a_submit_is_refused_whole_and_what_runs_ends(stumbling: Stumbling, go: Path) -> None:
    held = stumbling.running(go)
    scheduled = stumbling.accepted("say later", run_at=(datetime.now(UTC) + timedelta(seconds=1)).isoformat())
    said_before = len(stumbling.said("worker"))

    def said() -> str:
        return stumbling.said("worker")[said_before:]

    with stumbling.redis.full_memory():
        before = of_tasks(stumbling)
        for path in ("/task", "/chat"):
            answer = stumbling.http.post(path, json={"message": "m"}, headers={"idempotency-key": path})
            is_refused(answer, "storage_full")
        assert of_tasks(stumbling) == before
        assert stumbling.task(held)["status"] == "running", "reading goes on"
        assert stumbling.http.get("/ready").status_code == 200

        # renewals are accepted for longer than a lease: nobody takes the task, and its worker does not give it up
        lease = stumbling.lease_of(held)
        until(lambda: stumbling.lease_of(held) > lease + LEASE_S * 1000, "it is renewed for a whole lease")
        go.touch()
        charged_nothing(stumbling.ended(held), stumbling)
        assert stumbling.task(scheduled)["status"] == "pending", "a full Redis starts nothing new"
        cancelled = stumbling.http.post(f"/task/{scheduled}/cancel")
        assert cancelled.json()["status"] == "cancelled", "but lets go of what waits"
        assert said().count("redis_full") == 1, "told once, however often it is met"
        assert "redis_has_room" not in said()
    until(lambda: "redis_has_room" in said(), "the worker sees that there is room")
    assert stumbling.ended(stumbling.accepted("say again"))["result"] == "again"


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[StumblingRedis]:
    server = StumblingRedis(tmp_path)
    server.start()
    yield server
    server.stop()


def fill(server: StumblingRedis, part: float) -> None:
    """From now on that part of its memory is taken."""
    used = server.client.info("memory")["used_memory"]  # type: ignore[index]  # redis-py's types are of both clients
    server.client.config_set("maxmemory", str(int(used / part)))


async def test_the_last_tenth_is_for_what_was_let_in(own_redis: StumblingRedis) -> None:
    """A queue that filled Redis while no worker ran could else never be worked off."""
    own_redis.client.set("ballast", "x" * 50_000_000)  # beside which what the test itself takes is nothing
    async with connect(own_redis.url) as client:
        store = TaskStore(client, Settings(redis_url=own_redis.url))
        waiting = NewTask(task_id="t1", caller="alice", message="m", model="M")
        fill(own_redis, 0.85)
        assert (await store.submit(waiting)).created
        fill(own_redis, 0.95)
        with pytest.raises(StorageFull):
            await store.submit(NewTask(task_id="t2", caller="alice", message="m", model="M"))
        assert not (await store.submit(waiting)).created, "a repeat is answered as the first was"
        claimed = await store.claim("w1", 1, room=5, extra=0, models={"M": None})
        assert [task.task_id for task in claimed.tasks] == ["t1"]
        assert await store.renew(WorkerInfo("w1", "h", 1, "1", 5, 0), [("t1", 1)]) == {"t1": "ok"}
        assert await store.settle([Settlement(task_id="t1", fence=1, kind="success", result="r")]) == ["ok"]
        assert await store.audit() == []


async def test_no_verb_is_stopped_when_memory_ends_inside_it(own_redis: StumblingRedis) -> None:
    """Redis looks at its memory when a script begins: what has begun is finished, whatever it takes."""
    async with connect(own_redis.url) as client:
        store = TaskStore(client, Settings(redis_url=own_redis.url))
        for number in range(100):
            await store.submit(NewTask(task_id=f"t{number}", caller="alice", message="m", model="M"))
        claimed = await store.claim("w1", 1, room=100, extra=0, models={"M": None})
        used = int(own_redis.client.info("memory")["used_memory"])  # type: ignore[index]  # as above
        own_redis.client.config_set("maxmemory", str(used + 200_000))
        large = "r" * 50_000
        settled = [Settlement(task_id=one.task_id, fence=1, kind="success", result=large) for one in claimed.tasks]
        assert set(await store.settle(settled)) == {"ok"}
        assert own_redis.client.info("memory")["used_memory"] > used + 200_000  # type: ignore[index]  # as above
        assert await store.audit() == []
        with pytest.raises(StorageFull):
            await store.claim("w1", 2, room=1, extra=0, models={"M": None})
        assert await store.audit() == []
