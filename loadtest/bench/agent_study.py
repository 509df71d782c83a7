"""The agent's rows: the processor time of a run of three model calls and two tool calls, by framework; what of
Longhaul's is its own; what tracing costs.
"""

import functools
import statistics
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, Literal

from loadtest.bench import agents, longhaul, scripted_model
from loadtest.bench.stage import Stage
from loadtest.bench.study import BEST_PEER, LONGHAUL, Contender, Findings, Goal, Row, Study
from loadtest.bench.use import cpu_seconds

AT_ONCE: Final = 50
RUNS, FLOOR_RUNS, WARM_UP = 150, 1500, 60
TURNS, RUNS_A_TURN = 5, 50
LANGCHAIN: Final = "LangChain and LiteLLM alone"
TRACED: Final = "Longhaul traced"

ROWS: Final = (
    Row(
        "agent", f"three-call agent run, {AT_ONCE} at once: processor time", "ms", "lower",
        (Goal("<=", 1.0, BEST_PEER),),
        measured_by=f"Of the agent's process, over {RUNS} runs on a scripted model server; Longhaul's is "
        "a whole worker with its queue, durable steps, steps and metrics. All under uvloop, each agent built once, not "
        "traced.",
    ),
    Row(
        "agent_alone", "the same less what a task without calls takes", "ms", "lower",
        (Goal("<=", 1.0, BEST_PEER),),
        measured_by="Of Longhaul's worker the time of a task is taken off whose agent is an empty function.",
    ),
)  # fmt: skip

ADDED_ROWS: Final = (
    Row(
        "added", "what Longhaul adds to LangChain and LiteLLM, durable steps off", "ms a call", "lower",
        (Goal("<=", 1.0),),
        measured_by="Processor time of a run as the worker makes it, until its outcome is written, less one of "
        f"create_agent on ChatLiteLLM in the same process, which takes {TURNS} turns with it; a third of that.",
    ),
    Row(
        "added_durable", "the same, durable steps on", "ms a call", "lower",
        (Goal("<=", 1.0),),
        measured_by="The same with each step kept in Redis before the next one begins.",
    ),
    Row(
        "durable", "durable steps: processor time of a run, on to off", "times", "lower",
        measured_by="Of the same two.",
    ),
)  # fmt: skip

TRACING_ROWS: Final = (
    Row(
        "tracing", "three-call agent run, traced: processor time", "ms", "lower",
        (Goal("<=", 1.2, LONGHAUL),), subject=TRACED,
        measured_by="The row `agent`, with Langfuse's keys set and a server that takes the spans.",
    ),
)  # fmt: skip


async def _longhauls(stage: Stage, key: str, more: Callable[[str], Mapping[str, str]] = lambda _: {}) -> Findings:
    model = await scripted_model.start(stage)
    system = await longhaul.start(stage, {**agents.settings_of(stage, model), **more(model)})
    caller, worker = await agents.Caller.of(stage, system), system.pid("worker-1")
    await caller.run(WARM_UP, "bench")
    await caller.run(WARM_UP, agents.NOTHING)
    whole = await _ms_each(worker, RUNS, functools.partial(caller.run, RUNS, "bench"))
    if key != "agent":
        return {key: whole}
    queue = await _ms_each(worker, 2 * RUNS, functools.partial(caller.run, 2 * RUNS, agents.NOTHING))
    return {key: whole, "agent_alone": whole - queue}


def _spans_to(model: str) -> dict[str, str]:
    return {"LANGFUSE_HOST": model, "LANGFUSE_PUBLIC_KEY": "pk-bench", "LANGFUSE_SECRET_KEY": "sk-bench-no-secret"}


async def _peers(stage: Stage, module: str, python: Literal["ours", "peers"], runs: int = RUNS) -> Findings:
    agent = await agents.start_peer(stage, module, python, await scripted_model.start(stage))
    await agent.run(WARM_UP, AT_ONCE)
    took = await _ms_each(agent.pid, runs, functools.partial(agent.run, runs, AT_ONCE))
    return {"agent": took, "agent_alone": took}


async def start_three(stage: Stage) -> agents.AgentProcess:
    """operations/bench_agent.py: three agents in one process, by themselves, as the worker runs them, and durable."""
    model = await scripted_model.start(stage)
    environment = {
        "REDIS_URL": stage.redis_url, "LEASE_SECONDS": "300", "LOG_LEVEL": "WARNING",
        **agents.settings_of(stage, model),
    }  # fmt: skip
    command: list[str | Path] = [stage.means.python, "-m", "operations.bench_agent", f"{model}/v1"]
    return agents.AgentProcess(
        await stage.start("bench_agent", command, environment=environment, stdin=True, stdout=True)
    )


async def _added(stage: Stage) -> Findings:
    agent = await start_three(stage)
    found: dict[str, list[float]] = {"langchain": [], "plain": [], "durable": []}
    for name in found:
        await agent.run(WARM_UP, AT_ONCE, **{"as": name})
    order = list(found)
    for _ in range(TURNS):
        for name in order:
            if name != "langchain":
                await agent.run(RUNS_A_TURN, 1, **{"as": "prepare"})
            run = functools.partial(agent.run, RUNS_A_TURN, AT_ONCE, **{"as": name})
            found[name].append(await _ms_each(agent.pid, RUNS_A_TURN, run))
        order.append(order.pop(0))
    alone, plain, durable = (statistics.median(found[name]) for name in ("langchain", "plain", "durable"))
    calls = scripted_model.CALLS
    return {"added": (plain - alone) / calls, "added_durable": (durable - alone) / calls, "durable": durable / plain}


async def _ms_each(pid: int, runs: int, do: Callable[[], Awaitable[object]]) -> float:
    """Processor time of the process for each of so many runs."""
    before = cpu_seconds(pid)
    await do()
    return 1000 * (cpu_seconds(pid) - before) / runs


def _peer(name: str, module: str) -> Contender:
    return Contender(name, functools.partial(_peers, module=module, python="peers"), "peer", peers_environment=True)


_OURS = Contender(LONGHAUL, functools.partial(_longhauls, key="agent"), "ours")

AGENT: Final = Study(
    "agent",
    ROWS,
    (
        _OURS,
        Contender(LANGCHAIN, functools.partial(_peers, module="agent_langchain", python="ours"), "variant"),
        _peer("pydantic-ai", "agent_pydantic_ai"),
        _peer("openai-agents", "agent_openai_agents"),
        _peer("agno", "agent_agno"),
        Contender(
            "a loop over aiohttp",
            functools.partial(_peers, module="agent_floor", python="ours", runs=FLOOR_RUNS),
            "floor",
        ),
    ),
    seconds=150,
)
ADDED: Final = Study("added", ADDED_ROWS, (Contender(LONGHAUL, _added, "ours"),), seconds=150)
TRACING: Final = Study(
    "tracing",
    TRACING_ROWS,
    (
        Contender(LONGHAUL, functools.partial(_longhauls, key="tracing"), "ours"),
        Contender(TRACED, functools.partial(_longhauls, key="tracing", more=_spans_to), "variant"),
    ),
    seconds=150,
)
