"""Polling: when a task may be done, when to ask again, what its run has said so far, and what a poll costs."""

import asyncio
import contextlib
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from core_config import ROOT, Settings
from taskstore.steps import StepBatch, StepNote
from taskstore.store import TaskStore

from .conftest import RunningGateway, StartGateway, TinyWorker, submitted

SLOTS = 4
FIRST, HELD, QUEUED = 8, SLOTS, 28
RUN_S = 0.2


@pytest.fixture
def start_worker(settings: Settings, tmp_path: Path) -> Iterator[Any]:
    """A worker process of SLOTS slots whose tasks do what their messages say."""
    with contextlib.ExitStack() as stack:

        def start() -> None:
            environment = {"REDIS_URL": settings.redis_address, "KEY_PREFIX": settings.key_prefix,
                           "WORKER_CONCURRENCY": str(SLOTS), "PATH": os.environ["PATH"]}  # fmt: skip
            log = stack.enter_context((tmp_path / "worker.log").open("wb"))
            command = [sys.executable, "-m", "tests.worker.scripted", "w1"]
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
            stack.callback(process.wait)
            stack.callback(process.kill)

        yield start


async def views_of(client: httpx.AsyncClient, ids: list[str]) -> list[dict[str, Any]]:
    return [(await client.get(f"/task/{task_id}")).json() for task_id in ids]


async def until_all(client: httpx.AsyncClient, ids: list[str], status: str) -> list[dict[str, Any]]:
    async with asyncio.timeout(60):
        while True:
            views = await views_of(client, ids)
            if all(view["status"] == status for view in views):
                return views
            await asyncio.sleep(0.05)


async def test_estimates_of_a_queue_go_by_the_runs_before(
    start_gateway: StartGateway, start_worker: Any, tmp_path: Path
) -> None:
    """Forty tasks on four slots: eight are measured, then four hold the slots while the others are looked at."""
    models = tmp_path / "models.toml"
    models.write_text('[M]\nlitellm_id = "openai/m"\nbase_url = "http://127.0.0.1:9/v1"\n')
    path = tmp_path / "go"
    messages = [f"sleep {RUN_S}"] * FIRST + [f"hold {path}"] * HELD + [f"sleep {RUN_S}"] * QUEUED
    async with start_gateway(models_file=models).client() as client:
        ids = [await submitted(client, message=message, model="M") for message in messages]
        assert {view["eta_s"] for view in await views_of(client, ids)} == {None}, "nobody has run anything yet"

        start_worker()
        measured = await until_all(client, ids[:FIRST], "success")
        await until_all(client, ids[FIRST : FIRST + HELD], "running")
        async with asyncio.timeout(60):  # a worker's slots are known from its first renewal on
            while (await views_of(client, ids[-1:]))[0]["eta_s"] is None:
                await asyncio.sleep(0.05)

        mean_ms = sum(view["duration_ms"] for view in measured) / FIRST
        answers = [await client.get(f"/task/{task_id}") for task_id in ids[-QUEUED:]]
        views = [answer.json() for answer in answers]
        assert [view["queue_position"] for view in views] == list(range(QUEUED))
        expected = [(place + 1) * mean_ms / SLOTS + mean_ms for place in range(QUEUED)]
        assert [view["eta_s"] for view in views] == [round(ms / 1000, 1) for ms in expected]
        hints = [int(answer.headers["retry-after"]) for answer in answers]
        assert hints == [max(1, math.ceil(ms / 2000)) for ms in expected]
        assert views[-1]["eta_s"] > views[0]["eta_s"]

        path.touch()
        ended = await until_all(client, ids, "success")
        assert {view["eta_s"] for view in ended} == {None}


async def test_while_nobody_knows_the_next_poll_comes_after_a_tenth_of_its_age(
    client: httpx.AsyncClient, store: TaskStore
) -> None:
    task_id = await submitted(client)
    for age_s, hint in ((0, "1"), (130, "14"), (3600, "30")):
        created = str(round((time.time() - age_s) * 1000))
        command: Any = store.redis  # redis-py types the answers of its async commands as awaitable or not
        await command.hset(store.keys.task(task_id), "created_at", created)
        answer = await client.get(f"/task/{task_id}")
        assert (answer.json()["eta_s"], answer.headers["retry-after"]) == (None, hint)


async def test_a_scheduled_task_is_not_to_be_asked_for_before_its_time(client: httpx.AsyncClient) -> None:
    for later_s, hints in ((3600, {"30"}), (11, {"10", "11"})):
        run_at = (datetime.now(UTC) + timedelta(seconds=later_s)).isoformat()
        answer = await client.get(f"/task/{await submitted(client, run_at=run_at)}")
        assert answer.headers["retry-after"] in hints


async def test_a_wait_that_was_too_short_says_when_to_ask_again(client: httpx.AsyncClient, worker: TinyWorker) -> None:
    task_id = await submitted(client)
    assert (await client.get(f"/task/{task_id}", params={"wait": 0.1})).headers["retry-after"] == "1"
    await worker.end("success", result="42")
    for wait in ({}, {"wait": 0.1}):
        assert "retry-after" not in (await client.get(f"/task/{task_id}", params=wait)).headers


async def test_a_running_task_shows_what_it_has_said_so_far(
    client: httpx.AsyncClient, worker: TinyWorker, store: TaskStore
) -> None:
    task_id = await submitted(client, stream=True)
    claim = await worker.take()
    begins = StepNote('{"kind":"model","phase":"start","number":1,"name":"Simulator"}', time.monotonic())
    token = StepNote("Once upon", time.monotonic(), ("token", 1, "text"))
    assert await store.step([(task_id, claim.fence, StepBatch(1, (begins, token)))]) == ["ok"]
    for wait in ({}, {"wait": 0.1}):
        view = (await client.get(f"/task/{task_id}", params=wait)).json()
        assert (view["status"], view["partial"]) == ("running", "Once upon")
        assert [step["state"] for step in view["steps"]] == ["running"]
    await worker.end("success", claim, result="Once upon a time")
    assert (await client.get(f"/task/{task_id}")).json()["partial"] is None


async def test_a_poll_is_one_round_trip(
    client: httpx.AsyncClient, gateway: RunningGateway, worker: TinyWorker, store: TaskStore, settings: Settings
) -> None:
    task_id = await submitted(client)
    claim = await worker.take()
    begins = StepNote('{"kind":"model","phase":"start","number":1,"name":"Simulator"}', time.monotonic())
    assert await store.step([(task_id, claim.fence, StepBatch(1, (begins,)))]) == ["ok"]

    def polled() -> list[str]:
        url = f"{gateway.url}/task/{task_id}"
        httpx.get(url, trust_env=False)  # the first one also loads the script
        options: dict[str, Any] = {"lib_name": None, "lib_version": None}
        with redis.Redis.from_url(settings.redis_address, **options) as server, server.monitor() as monitor:
            httpx.get(url, trust_env=False)
            server.echo("the end")
            seen: list[str] = []
            for command in monitor.listen():
                if command["command"].startswith("ECHO"):
                    return seen
                if command["client_type"] != "lua" and settings.key_prefix in command["command"]:
                    seen.append(command["command"].split()[0])
        raise AssertionError

    assert await asyncio.to_thread(polled) == ["EVALSHA"], "running, with steps"
    await worker.end("success", claim, result="42")
    assert await asyncio.to_thread(polled) == ["EVALSHA"], "final"
