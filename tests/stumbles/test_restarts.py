"""Redis is killed, paused, or takes its time to load: 503 meanwhile, and no task is charged for it."""

import itertools
import signal
import time
from pathlib import Path

import httpx

from core_config import Settings
from taskstore.connection import connect
from taskstore.store import TaskStore

from .conftest import LEASE_S, Stumbling, charged_nothing, is_refused
from .redis_process import SLOWLY, until


def test_killed_under_load_it_loses_nothing(stumbling: Stumbling) -> None:
    accepted: list[str] = []
    refused = 0
    for number in range(120):
        if number in {30, 70}:
            stumbling.redis.kill()
        answer = stumbling.submit(f"say {number}")
        if answer.status_code == httpx.codes.OK:
            accepted.append(answer.json()["task_id"])
        else:
            is_refused(answer, "store_unavailable")
            refused += 1
            stumbling.redis.start()
    assert refused == 2
    for task_id in accepted:
        task = stumbling.ended(task_id)
        assert task["status"] == "success"
        assert stumbling.record(task_id)["crashes"] == "0"


def test_while_it_loads_nobody_is_refused_for_good(stumbling: Stumbling, go: Path) -> None:
    held = stumbling.running(go)
    redis = stumbling.redis
    redis.write_much()
    redis.kill()
    redis.launch("--auto-aof-rewrite-percentage", "0", *SLOWLY)
    until(redis.is_loading, "it loads")
    began = time.monotonic()
    is_refused(stumbling.submit("say no"), "store_unavailable")
    is_refused(stumbling.http.get(f"/task/{held}"), "store_unavailable")
    ready = stumbling.http.get("/ready")
    assert ready.status_code == 503
    assert "reading its data" in ready.text
    # longer than a lease: the worker is told that Redis loads, so it knows that nobody else can have its task
    until(lambda: not redis.is_loading() or time.monotonic() > began + LEASE_S + 1, "a lease passes")
    assert redis.is_loading(), "the test's own: the file was loaded too soon"
    redis.client.config_set("key-load-delay", "0")
    until(redis.answers, "it is loaded")
    go.touch()
    charged_nothing(stumbling.ended(held), stumbling)
    assert stumbling.record(held)["fence"] == "1", "it was not given up"


async def test_paused_for_longer_than_a_lease_it_charges_no_task(stumbling: Stumbling, tmp_path: Path) -> None:
    """Whether another worker has the tasks by now its own cannot know: it ends its runs, and they are run again."""
    files = [tmp_path / f"go{number}" for number in range(3)]
    held = [stumbling.running(path) for path in files]
    stumbling.redis.signal(signal.SIGSTOP)
    try:
        paused_until = time.monotonic() + 7
        is_refused(stumbling.submit("say no"), "store_unavailable")
        is_refused(stumbling.http.get(f"/task/{held[0]}"), "store_unavailable")
        assert stumbling.http.get("/ready").status_code == 503
        until(lambda: time.monotonic() > paused_until, "seven seconds pass")
    finally:
        stumbling.redis.signal(signal.SIGCONT)
    # another worker, with room, that looks at once: the leases have run out, but nobody could have renewed them
    async with connect(stumbling.redis.url) as client:
        store = TaskStore(client, Settings(redis_url=stumbling.redis.url))
        for number in itertools.count(1):
            await store.sweep()
            claimed = await store.claim("rival", number, room=1, extra=0, models={"M": None})
            assert claimed.tasks == []
            if number == 20:
                break
        for path in files:
            path.touch()
        for task_id in held:
            charged_nothing(stumbling.ended(task_id), stumbling)
            ends = [event for event in (await store.history(task_id)).events if event.status == "success"]
            assert len(ends) == 1
        assert await store.audit() == []
