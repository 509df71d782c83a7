"""How long a start takes, with everything installed: of the whole system, and of each of its processes alone."""

import asyncio
import time
from contextlib import suppress
from typing import Final

import httpx

from loadtest.bench import agents, longhaul, scripted_model
from loadtest.bench.stage import BenchError, Program, Stage
from loadtest.bench.study import LONGHAUL, Contender, Findings, Row, Study
from loadtest.bench.use import cpu_seconds

_WITHIN_S: Final = 60.0

ROWS: Final = (
    Row("start", "manage.py start, until it is ready", "s", "lower", measured_by="With one gateway and one worker."),
    Row(
        "start_gateway", "a gateway's process, until its first answer", "s", "lower",
        measured_by="`python -m gateway` until `/health` answers.",
    ),
    Row(
        "start_worker", "a worker's process, until tasks will run", "s", "lower",
        measured_by="`python -m worker` beside that gateway until `/ready` says yes.",
    ),
    Row("start_gateway_cpu", "the gateway's processor time until then", "s", "lower", measured_by="Of its process."),
    Row("start_worker_cpu", "the worker's processor time until then", "s", "lower", measured_by="Likewise."),
)  # fmt: skip


async def _measure(stage: Stage) -> Findings:
    model = await scripted_model.start(stage)
    settings = agents.settings_of(stage, model)
    environment = {
        **longhaul.environment_of(stage, "unused", settings), "VAR_DIR": str(stage.folder / "alone"),
        "KEY_PREFIX": "alone:",
    }  # fmt: skip
    found: dict[str, float] = {}
    url = f"http://127.0.0.1:{environment['GATEWAY_PORT']}"
    for module, path in (("gateway", "/health"), ("worker", "/ready")):
        began = time.perf_counter()
        program = await stage.start(module, [stage.means.python, "-m", module], environment=environment)
        await _until_ok(program, url + path)
        found[f"start_{module}"] = time.perf_counter() - began
        found[f"start_{module}_cpu"] = cpu_seconds(program.pid)
    found["start"] = (await longhaul.start(stage, settings)).started_in_s
    return found


async def _until_ok(program: Program, url: str) -> None:
    until = time.perf_counter() + _WITHIN_S
    async with httpx.AsyncClient(trust_env=False) as client:
        while True:
            with suppress(httpx.TransportError):
                if (await client.get(url)).status_code == httpx.codes.OK:
                    return
            program.check()
            if time.perf_counter() > until:
                raise BenchError(f"{program.name} was not ready within {_WITHIN_S:g} s: {program.last_lines()}")
            await asyncio.sleep(0.02)


START: Final = Study("starting", ROWS, (Contender(LONGHAUL, _measure, "ours"),), seconds=200, most_rounds=2)
