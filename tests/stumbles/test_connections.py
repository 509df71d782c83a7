"""Connections to Redis that are reset or swallow what is sent: calls are bounded, and a worker knows when to stop."""

import asyncio
import time
from pathlib import Path

import httpx

from core_config import Settings
from taskstore.claims import Settlement
from taskstore.connection import connect
from taskstore.store import TaskStore
from tests.worker.conftest import eventually

from .conftest import Stumbling, is_refused
from .redis_process import until


def test_connections_that_are_cut_all_the_time_lose_nothing(stumbling: Stumbling) -> None:
    accepted: list[str] = []
    cut = 0
    for number in range(60):
        if number % 5 == 0:
            cut += stumbling.proxy.do(stumbling.proxy.proxy.cut)
        answer = stumbling.submit(f"say {number}")
        if answer.status_code == httpx.codes.OK:
            accepted.append(answer.json()["task_id"])
        else:
            is_refused(answer, "store_unavailable")
    assert cut > 20, "it had connections to lose"
    assert len(accepted) > 30
    for task_id in accepted:
        assert stumbling.ended(task_id)["status"] == "success"
        assert stumbling.record(task_id)["crashes"] == "0"


async def test_a_silent_network_is_noticed_and_the_worker_stops_what_it_may_have_lost(
    stumbling: Stumbling, tmp_path: Path
) -> None:
    beats = tmp_path / "beats"
    task_id = stumbling.accepted(f"beat {beats}")
    until(beats.exists, "it runs")
    proxy = stumbling.proxy
    proxy.do(proxy.proxy.half_open, "both")
    try:
        # within the client's thirty seconds, and none stuck behind the others
        async with httpx.AsyncClient(base_url=stumbling.http.base_url, trust_env=False, timeout=30) as clients:
            calls = [clients.get(f"/task/{task_id}"), clients.post("/task", json={"message": "say no"})]
            for answer in await asyncio.gather(*calls, *(clients.get(f"/task/{'0' * 32}") for _ in range(20))):
                is_refused(answer, "store_unavailable")

        async with connect(stumbling.redis.url) as client:  # past the proxy: a worker that is not cut off
            store = TaskStore(client, Settings(redis_url=stumbling.redis.url))
            numbers = iter(range(1, 10_000))

            async def rescued() -> bool:
                await store.sweep()
                claimed = await store.claim("rival", next(numbers), room=1, extra=0, models={"M": None})
                return [task.fence for task in claimed.tasks if task.task_id == task_id] == [2]

            await eventually(rescued)

            def silent() -> bool:
                before = beats.stat().st_size
                time.sleep(0.5)  # twenty beats of a run that goes on
                return beats.stat().st_size == before

            until(silent, "the run that was lost ends")
            settled = Settlement(task_id=task_id, fence=2, kind="success", result="the rival's")
            assert await store.settle([settled]) == ["ok"]
            final = stumbling.record(task_id)
    finally:
        proxy.do(proxy.proxy.heal)
    until(stumbling.is_well, "both find Redis again")
    assert stumbling.ended(stumbling.accepted("say back"))["result"] == "back"
    assert stumbling.record(task_id) == final, "who was cut off has written nothing"
