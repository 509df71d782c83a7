"""What durable steps cost when nothing crashes: `python -m tests.benchmarks.durable`. The real agent and a real Redis;
the model is a scripted provider on loopback, in the same process.

Prints, for an agent that answers at once and for one with three model and two tool calls, what a run takes with and
without durable steps: turn by turn in one process, so that the ratio says more than the figures. One run at a time
shows the wait, twenty at once the work.
"""

import asyncio
import logging
import statistics
import tempfile
import time
from pathlib import Path

from agent.meter import Meter
from agent.runner import AgentRunner
from agent.work import AgentWork
from core_config import SIMULATOR, Settings
from taskstore.claims import Claim, Settlement
from taskstore.connection import connect
from taskstore.store import TaskStore
from tests.agent.scripted_provider import Reply, Request, ScriptedProvider, completion
from tests.conftest import RedisServer
from tests.worker.conftest import new_task
from worker.checkpoints import DurableRun
from worker.outage import Outage
from worker.steps import StepLog
from worker.writer import Writer

ROUNDS, RUNS = 6, 20
PLANS = {"no tool": 0, "two tools": 2}


class Model(ScriptedProvider):
    def reply_to(self, request: Request) -> Reply:
        said = [message["role"] for message in request.body["messages"]].count("assistant")
        if said < PLANS[request.body["messages"][1]["content"]]:
            return completion(calls=[("calculator", {"expression": f"{said} + 1"})])
        return completion("Done.")


class Bench:
    def __init__(self, store: TaskStore, writer: Writer, runner: AgentRunner) -> None:
        self.store, self.writer, self.runner = store, writer, runner
        self._claims = 0

    async def claims(self, tasks: int) -> list[Claim]:
        for _ in range(tasks):
            await self.store.submit(new_task())
        self._claims += 1
        claimed = await self.store.claim("w1", self._claims, room=tasks, extra=0, models={"M": None})
        return list(claimed.tasks)

    async def run(self, claim: Claim, plan: str, *, durable: bool) -> None:
        """As worker/executor.py and worker/engine.py do it."""
        log = StepLog(claim, str, self.writer.noted)
        meter: Meter = log.progress.meter
        work = AgentWork(
            task_id=claim.task_id, message=plan, model=SIMULATOR, durable=DurableRun(log.progress) if durable else None
        )
        answer = await self.runner.run(work, meter, on_step=log.note)
        log.close()
        outcome = Settlement(task_id=claim.task_id, fence=claim.fence, kind="success", result=answer.text)
        assert await self.writer.settle(outcome, log) == "ok"

    async def round(self, plan: str, *, durable: bool, at_once: int) -> tuple[float, float, float]:
        """Milliseconds that a run takes, and of processor; scripts that Redis runs for it."""
        claims = await self.claims(RUNS)
        scripts, wall, cpu = await self._scripts(), time.perf_counter(), time.process_time()
        for at in range(0, RUNS, at_once):
            await asyncio.gather(*(self.run(claim, plan, durable=durable) for claim in claims[at : at + at_once]))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return 1000 * wall / (RUNS / at_once), 1000 * cpu / RUNS, (await self._scripts() - scripts) / RUNS

    async def _scripts(self) -> int:
        return int((await self.store.redis.info("commandstats"))["cmdstat_evalsha"]["calls"])


async def main() -> None:
    logging.disable()
    with tempfile.TemporaryDirectory(prefix="longhaul-bench-") as folder:
        server, model = RedisServer(Path(folder)), Model()
        server.start()
        settings = Settings(redis_url=server.url, key_prefix="bench:", simulator_port=model.port)
        runner, store = AgentRunner(settings), TaskStore(connect(settings.redis_address), settings)
        writer = Writer(store, Outage())
        await writer.start()
        try:
            bench = Bench(store, writer, runner)
            for at_once in (1, 20):
                for plan in PLANS:
                    await compare(bench, plan, at_once)
        finally:
            await writer.stop()
            await runner.close()
            await store.redis.aclose()
            model.stop()
            server.kill()


async def compare(bench: Bench, plan: str, at_once: int) -> None:
    found: dict[bool, list[tuple[float, float, float]]] = {False: [], True: []}
    await bench.round(plan, durable=True, at_once=at_once)
    for turn in range(ROUNDS):
        for durable in (turn % 2 == 0, turn % 2 == 1):
            found[durable].append(await bench.round(plan, durable=durable, at_once=at_once))
    (plain, plain_cpu, plain_scripts), (kept, kept_cpu, kept_scripts) = (
        [statistics.median(column) for column in zip(*found[durable], strict=True)] for durable in (False, True)
    )
    print(
        f"{plan:9}, {at_once:2} at once   run {plain:6.1f} -> {kept:6.1f} ms   processor {plain_cpu:5.1f} -> "
        f"{kept_cpu:5.1f} ms ({kept_cpu / plain_cpu:.2f})   scripts {plain_scripts:.2f} -> {kept_scripts:.2f}"
    )


if __name__ == "__main__":
    asyncio.run(main())
