"""The rows of memory: a gateway with idle watchers, and processes with runs that wait for their model."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import psutil

from loadtest.bench import agents, longhaul, scripted_model, watchers
from loadtest.bench.agent_study import AT_ONCE, LANGCHAIN, WARM_UP
from loadtest.bench.stage import BenchError, Stage
from loadtest.bench.study import LONGHAUL, Contender, Findings, Goal, Row, Study
from loadtest.bench.use import memory_mib

WATCHERS, WATCHED = 1000, 100
WAITING: Final = 1000
_HELD_WITHIN_S: Final = 50.0
_SETTLE_S: Final = 1.0

WATCHING_ROWS: Final = (
    Row(
        "watchers", f"gateway with {WATCHERS} idle watchers", "MiB", "lower",
        (Goal("<=", 80),),
        measured_by=f"Resident memory of the gateway's process while they follow {WATCHED} waiting tasks' events.",
    ),
    Row("gateway", "gateway before that", "MiB", "lower", measured_by="The same, when it has taken those tasks."),
)  # fmt: skip

WAITING_ROWS: Final = (
    Row(
        "waiting", f"{WAITING} runs that wait for their model, more than before", "MiB", "lower",
        (Goal("<=", 100),),
        measured_by="Resident memory of the agents' process; Longhaul's is a worker with as many slots.",
    ),
    Row(
        "warm", "the same process before that, warm", "MiB", "lower",
        measured_by=f"After {WARM_UP} runs.",
    ),
)  # fmt: skip


async def _watched(stage: Stage) -> Findings:
    model = await scripted_model.start(stage)
    system = await longhaul.start(stage, agents.settings_of(stage, model))
    psutil.Process(system.pid("worker-1")).suspend()
    stage.stack.callback(psutil.Process(system.pid("worker-1")).resume)  # else it could not be stopped
    caller = await agents.Caller.of(stage, system)
    ids = await caller.submit(WATCHED, agents.NOTHING)
    before = memory_mib(system.pid("gateway-1"))
    await watchers.watch(stage, system.url, system.headers, ids, WATCHERS)
    await asyncio.sleep(_SETTLE_S)
    return {"gateway": before, "watchers": memory_mib(system.pid("gateway-1"))}


async def _longhaul(stage: Stage) -> Findings:
    model = await scripted_model.start(stage)
    slots = {"WORKER_CONCURRENCY": str(WAITING)}
    system = await longhaul.start(stage, {**agents.settings_of(stage, model), **slots})
    caller = await agents.Caller.of(stage, system)
    await caller.run(WARM_UP, "bench")
    begin = functools.partial(caller.submit, WAITING, "bench", scripted_model.HOLD)
    return await _grown(system.pid("worker-1"), model, begin)


async def _peer(stage: Stage, module: str, python: Literal["ours", "peers"]) -> Findings:
    model = await scripted_model.start(stage)
    agent = await agents.start_peer(stage, module, python, model)
    await agent.run(WARM_UP, AT_ONCE)
    return await _grown(agent.pid, model, functools.partial(agent.begin, WAITING, scripted_model.HOLD))


async def _grown(pid: int, model: str, begin: Callable[[], Awaitable[object]]) -> Findings:
    before = memory_mib(pid)
    await begin()
    until = asyncio.get_running_loop().time() + _HELD_WITHIN_S
    while (calls := await scripted_model.held(model)) < WAITING:
        if asyncio.get_running_loop().time() > until:
            raise BenchError(f"{calls} of {WAITING} runs had called their model after {_HELD_WITHIN_S:g} s")
        await asyncio.sleep(0.1)
    return {"warm": before, "waiting": memory_mib(pid) - before}


def _contender(name: str, module: str, python: Literal["ours", "peers"] = "peers") -> Contender:
    kind: Literal["variant", "peer"] = "variant" if python == "ours" else "peer"
    measure = functools.partial(_peer, module=module, python=python)
    return Contender(name, measure, kind, peers_environment=python == "peers")


WATCHING: Final = Study("watching", WATCHING_ROWS, (Contender(LONGHAUL, _watched, "ours"),), most_rounds=1)
WAITING_RUNS: Final = Study(
    "waiting",
    WAITING_ROWS,
    (
        Contender(LONGHAUL, _longhaul, "ours"),
        _contender(LANGCHAIN, "agent_langchain", "ours"),
        _contender("pydantic-ai", "agent_pydantic_ai"),
        _contender("openai-agents", "agent_openai_agents"),
        _contender("agno", "agent_agno"),
    ),
    seconds=120,
    most_rounds=1,
)
