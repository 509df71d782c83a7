"""The gateway's rows: what a submit and a read cost over HTTP, beside a bare app that sends Redis the same commands."""

import json
import signal
from collections.abc import Mapping, Sequence
from typing import Final

import psutil

from loadtest.bench import agents, http_client, longhaul, overheard, scripted_model
from loadtest.bench.bare_app import ID, MESSAGE
from loadtest.bench.http_client import Client
from loadtest.bench.stage import BenchError, Stage
from loadtest.bench.study import LONGHAUL, Contender, Findings, Goal, Row, Study
from loadtest.bench.use import cpu_seconds

REQUESTS, WARM_UP, CONNECTIONS = 3000, 500, 32
TASKS: Final = 20
BARE: Final = "bare ASGI app"
FASTAPI: Final = "FastAPI with nothing in it"
SAID: Final = "a message that stands in no other place"

_ANY_KEY: Final = {"Authorization": "Bearer " + "x" * 55}
_HOW: Final = f"{REQUESTS} requests over {CONNECTIONS} connections to one process, keys on, workers standing still; "

ROWS: Final = (
    Row(
        "post", "POST /task", "a second", "higher",
        (Goal(">=", 0.55, BARE),),
        measured_by=f"{_HOW}the bare app (uvicorn, httptools, uvloop) sends the gateway's own script, once a request.",
    ),
    Row(
        "get", "GET /task/{id} of a finished task", "a second", "higher",
        (Goal(">=", 0.6, BARE),),
        measured_by="Likewise; the bare app makes JSON of what the gateway's own script reads.",
    ),
    Row(
        "post_cpu", "POST /task: server's processor time", "µs a request", "lower",
        (Goal("<=", 1.82, BARE),),
        measured_by="Of that process, meanwhile: what the rate would be if nothing else had the machine.",
    ),
    Row(
        "get_cpu", "GET /task/{id}: server's processor time", "µs a request", "lower",
        (Goal("<=", 1.67, BARE),),
        measured_by="Likewise.",
    ),
)  # fmt: skip


async def _longhaul(stage: Stage) -> Findings:
    system, ids = await _paused(stage)
    return await _load(stage, system.url, system.pid("gateway-1"), system.headers, ids)


async def _bare(stage: Stage) -> Findings:
    system, ids = await _paused(stage)
    commands = stage.folder / "commands.json"
    commands.write_text(json.dumps({"redis": stage.redis_url, **await _overheard(stage, system, ids[0])}))
    psutil.Process(system.pid("gateway-1")).suspend()
    return await _load(stage, *await start_app(stage, ["redis", str(commands)]), _ANY_KEY, ids)


async def _fastapi(stage: Stage) -> Findings:
    return await _load(stage, *await start_app(stage, ["fastapi"]), _ANY_KEY, ["0" * 32])


async def start_app(stage: Stage, arguments: Sequence[str]) -> tuple[str, int]:
    """The URL and process id of a loadtest/bench/bare_app.py."""
    program = await stage.start(
        "app", [stage.means.python, "-m", "loadtest.bench.bare_app", *arguments], stdout=True
    )  # fmt: skip
    said = await program.process.stdout.readline() if program.process.stdout else b""
    if not said:
        raise BenchError(f"the app did not start: {program.last_lines()}")
    return f"http://127.0.0.1:{int(said)}", program.pid


async def _paused(stage: Stage) -> tuple[longhaul.System, list[str]]:
    """A system whose workers stand still, and the ids of finished tasks."""
    model = await scripted_model.start(stage)
    system = await longhaul.start(stage, agents.settings_of(stage, model))
    caller = await agents.Caller.of(stage, system)
    ids = await caller.run(TASKS, agents.NOTHING)
    for name, pid in system.processes.items():
        if name.startswith(("worker-", "gateway-")):
            stage.stack.callback(psutil.Process(pid).send_signal, signal.SIGCONT)  # else it could not be stopped
        if name.startswith("worker-"):
            psutil.Process(pid).suspend()
    return system, ids


async def _overheard(stage: Stage, system: longhaul.System, finished: str) -> dict[str, list[str]]:
    """The commands of one submit and one read, with ID and MESSAGE in place of the task's own."""
    caller = await agents.Caller.of(stage, system)
    async with overheard.overhearing(stage.redis_url) as redis:
        (task_id,) = await caller.submit(1, agents.NOTHING, SAID)
        submit = await redis.command(lambda one: task_id in one and SAID in one)
        await caller.http.get(f"/task/{finished}")
        read = await redis.command(lambda one: finished in one)
    return {
        "submit": [{task_id: ID, SAID: MESSAGE}.get(one, one) for one in submit],
        "read": [{finished: ID}.get(one, one) for one in read],
    }


async def _load(stage: Stage, url: str, pid: int, headers: Mapping[str, str], ids: list[str]) -> Findings:
    client = await Client.start(stage)
    body = {"message": SAID, "agent": agents.NOTHING}
    kinds = {
        "post": [http_client.post("/task", headers, body)],
        "get": [http_client.get(f"/task/{one}", headers) for one in ids],
    }
    found: dict[str, float] = {}
    for name, requests in kinds.items():
        await client.send(url, requests, WARM_UP, CONNECTIONS)
        before = cpu_seconds(pid)
        took = await client.send(url, requests, REQUESTS, CONNECTIONS)
        found[f"{name}_cpu"] = 1e6 * (cpu_seconds(pid) - before) / REQUESTS
        found[name] = REQUESTS / took["seconds"]
    return found


HTTP: Final = Study(
    "http",
    ROWS,
    (
        Contender(LONGHAUL, _longhaul, "ours"),
        Contender(BARE, _bare, "floor"),
        Contender(FASTAPI, _fastapi, "floor"),
    ),
    seconds=120,
)
