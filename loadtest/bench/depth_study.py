"""What verbs cost while many tasks wait, beside what they cost while few do."""

import functools
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import psutil

from loadtest.bench import agents, http_client, longhaul, scripted_model
from loadtest.bench.http_client import Client
from loadtest.bench.stage import BenchError, Stage
from loadtest.bench.study import LONGHAUL, Contender, Findings, Goal, Row, Study

FEW, MANY, MOST = 100, 20_000, 1_000_000
FILLERS: Final = 2
CALLS, CLAIMS, PAGES, CONNECTIONS = 400, 50, 30, 4
SHALLOW: Final = f"Longhaul with {FEW} queued"

_DEPTH: Final = (Goal("<=", 1.3, SHALLOW),)


def _redis_row(key: str, title: str, call: str) -> Row:
    how = f"At {MANY} queued, with --long at {MOST}, workers standing still: Redis's own time for the scripts of a "
    return Row(key, f"{title}, deep queue: Redis's time", "µs", "lower", _DEPTH, measured_by=f"{how}{call}.")


ROWS: Final = (
    _redis_row("depth_submit", "a submit", "`POST /task`"),
    _redis_row("depth_poll", "a poll", "`GET /task/{id}`"),
    _redis_row("depth_claim", "a claim", "claim of one task"),
    _redis_row("depth_page", "/metrics", "`GET /metrics`"),
    Row(
        "depth_submit_ms", "POST /task, deep queue", "ms", "lower", _DEPTH,
        measured_by=f"Median of {CALLS} answers, {CONNECTIONS} connections.",
    ),
    Row("depth_poll_ms", "GET /task/{id}, deep queue", "ms", "lower", _DEPTH, measured_by="Likewise."),
    Row("depth_page_ms", "/metrics, deep queue", "ms", "lower", _DEPTH, measured_by=f"Likewise, of {PAGES} on one."),
)  # fmt: skip


async def _measure(stage: Stage, *, deep: bool) -> Findings:
    queued = FEW if not deep else MOST if stage.long else MANY
    model = await scripted_model.start(stage)
    settings = {**agents.settings_of(stage, model), "QUEUE_MAX_DEPTH": str(2 * MOST)}
    system = await longhaul.start(stage, settings)
    worker = psutil.Process(system.pid("worker-1"))
    worker.suspend()
    stage.stack.callback(worker.resume)  # else it could not be stopped
    caller = await agents.Caller.of(stage, system)
    ids = await caller.submit(FEW // 2, agents.NOTHING)
    store = functools.partial(bench_store, stage, system.environment)
    await store("fill", queued - len(ids), processes=FILLERS if deep else 1)
    client = await Client.start(stage)
    submit = http_client.post("/task", system.headers, {"message": "wait", "agent": agents.NOTHING})
    polls = [http_client.get(f"/task/{one}", system.headers) for one in ids]
    page = http_client.get("/metrics", {})
    # Few must stay few: their claims come first, and of submits there are as many as it takes to fill up again.
    found: dict[str, float] = {}
    found["depth_claim"] = await redis_us(stage, CLAIMS, functools.partial(store, "claim", CLAIMS))
    await store("fill", CLAIMS)
    for name, request, calls, connections in (
        ("poll", polls, CALLS, CONNECTIONS), ("page", [page], PAGES, 1), ("submit", [submit], CALLS, CONNECTIONS),
    ):  # fmt: skip
        send = functools.partial(client.send, system.url, request, calls, connections)
        await send()  # what is slow only once
        told: dict[str, float] = {}

        async def timed(send: Callable[[], Awaitable[dict[str, float]]] = send, told: dict[str, float] = told) -> None:
            told.update(await send())

        found[f"depth_{name}"] = await redis_us(stage, calls, timed)
        found[f"depth_{name}_ms"] = told["p50_ms"]
    return found


async def redis_us(stage: Stage, calls: int, do: Callable[[], Awaitable[object]]) -> float:
    """Microseconds that Redis spent on commands for each of so many calls."""
    await stage.redis.config_resetstat()
    await do()
    stats = await stage.redis.info("commandstats")
    own = ("cmdstat_info", "cmdstat_config")
    # what scripts call is in the script's own time already
    outer = [one for name, one in stats.items() if not name.startswith(own) and name.startswith("cmdstat_eval")]
    if not outer:
        raise BenchError("Redis ran no script meanwhile")
    return sum(float(one["usec"]) for one in outer) / calls


async def bench_store(stage: Stage, environment: Mapping[str, str], what: str, tasks: int, processes: int = 1) -> None:
    """operations/bench_store.py, in so many processes at once."""
    command: list[str | Path] = [stage.means.python, "-m", "operations.bench_store", what, str(tasks // processes)]
    running = [await stage.start(f"{what}-{number}", command, environment=environment) for number in range(processes)]
    for program in running:
        await program.process.wait()
        if program.process.returncode:
            raise BenchError(f"bench_store {what}: {program.last_lines()}")


DEPTH: Final = Study(
    "depth",
    ROWS,
    (
        Contender(LONGHAUL, functools.partial(_measure, deep=True), "ours"),
        Contender(SHALLOW, functools.partial(_measure, deep=False), "variant"),
    ),
    seconds=900,
    most_rounds=2,
)
