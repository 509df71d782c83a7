"""Agents as processes, on a scripted model: they make the calls that are counted, and a wrong answer is noticed."""

import asyncio
import os
import time

import httpx
import pytest

from core_config import Settings
from loadtest.bench import agent_study, agents, scripted_model
from loadtest.bench.stage import BenchError
from loadtest.bench.use import cpu_seconds, memory_mib
from taskstore.connection import connect
from taskstore.listing import TaskFilter
from taskstore.store import TaskStore


async def call(url: str, *said: str, **more: object) -> httpx.Response:
    messages = [{"role": role, "content": "x"} for role in said]
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(f"{url}/v1/chat/completions", json={"messages": messages, **more}, timeout=60)


async def test_a_scripted_run_is_two_tool_calls_and_an_answer(stages):
    async with stages.stage() as stage:
        url = await scripted_model.start(stage)
        for said, finish in ((0, "tool_calls"), (1, "tool_calls"), (2, "stop"), (3, "stop")):
            answer = await call(url, "user", *["assistant", "tool"] * said)
            assert answer.json()["choices"][0]["finish_reason"] == finish
        assert (await call(url, "user", stream=True)).status_code == 400


async def test_held_calls_are_counted_and_answered_when_they_are_released(stages):
    async with stages.stage() as stage:
        url = await scripted_model.start(stage)
        held = asyncio.create_task(call(url, "user", note=scripted_model.HOLD))
        gone = asyncio.create_task(call(url, "user", note=scripted_model.HOLD))
        await until_held(url, 2)
        gone.cancel()
        await until_held(url, 1)
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.post(f"{url}/release")).json() == {"released": 1}
        assert (await held).status_code == 200


async def until_held(url: str, calls: int) -> None:
    until = time.monotonic() + 60
    while (found := await scripted_model.held(url)) != calls:
        assert time.monotonic() < until, f"{found} calls are held, not {calls}"
        await asyncio.sleep(0.02)


async def test_the_floor_runs_to_its_end_and_its_time_is_its_own(stages):
    async with stages.stage() as stage:
        model = await scripted_model.start(stage)
        agent = await agents.start_peer(stage, "agent_floor", "ours", model)
        before = cpu_seconds(agent.pid)
        await agent.run(4, 2)
        assert cpu_seconds(agent.pid) > before
        assert memory_mib(agent.pid) > 1
        await agent.begin(3, scripted_model.HOLD)
        await until_held(model, 3)


async def test_an_agent_that_answers_something_else_is_an_error(stages):
    async with stages.stage() as stage:
        silent = agents.AgentProcess(
            await stage.start("silent", [stage.means.python, "-c", "input(); exit('wrong')"], stdin=True, stdout=True)
        )
        with pytest.raises(BenchError, match="wrong"):
            await silent.run(1, 1)


def test_processor_time_is_to_the_point():
    before = time.process_time()
    found = cpu_seconds(os.getpid())
    assert before <= found <= time.process_time()


async def test_what_longhaul_adds_is_measured_on_attempts_that_are_written(stages):
    """One task of three was left over for the second of `durable`'s runs, which claims another."""
    async with stages.stage() as stage:
        agent = await agent_study.start_three(stage)
        await agent.run(3, 1, **{"as": "prepare"})
        for name in ("langchain", "plain", "durable"):
            await agent.run(2, 2, **{"as": name})
        settings = Settings(redis_url=stage.redis_url)
        store = TaskStore(connect(stage.redis_url), settings)
        page = await store.list_tasks(TaskFilter(), limit=10)
        await store.redis.aclose()
    assert [task.status for task in page.tasks] == ["success"] * 4
