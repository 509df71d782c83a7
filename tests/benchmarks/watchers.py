"""What watching costs: `python -m tests.benchmarks.watchers [WATCHERS TASKS]`. A real Redis, one gateway process.

A thousand watchers follow a hundred tasks, ten each, through one gateway process, while the tasks make forty calls
each. Prints the gateway's memory before, with all watchers idle and after, its connections to Redis, the Redis commands
that the idle watchers cause in ten seconds, and how many events were lost or came twice, of how many.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import psutil

from core_config import ROOT, Settings
from taskstore.claims import Claim, Settlement
from taskstore.connection import connect
from taskstore.records import NewTask
from taskstore.steps import StepBatch, StepNote
from taskstore.store import TaskStore
from tests.conftest import RedisServer, free_port
from tests.gateway.event_reader import events_of

CALLS = 40


class Bench:
    def __init__(self, server: RedisServer, watchers: int, tasks: int) -> None:
        self.settings = Settings(redis_url=server.url, key_prefix="bench:")
        self.store = TaskStore(connect(server.url), self.settings)
        self.watchers = watchers
        self.tasks = [f"{number:032x}" for number in range(tasks)]
        self.port = free_port()
        self.connected = 0
        self.connecting = asyncio.Semaphore(50)
        environment = {
            **os.environ, "REDIS_URL": server.url, "KEY_PREFIX": "bench:", "GATEWAY_PORT": str(self.port),
            "LOG_LEVEL": "WARNING",
        }  # fmt: skip
        self.gateway = subprocess.Popen([sys.executable, "-m", "gateway"], cwd=ROOT, env=environment)

    def memory_mib(self) -> float:
        return float(psutil.Process(self.gateway.pid).memory_info().rss / 2**20)

    async def redis_connections(self) -> int:
        """The gateway's, as Redis counts them: all but this program's."""
        clients = await self.store.redis.client_list()
        mine = {f"{one.laddr.ip}:{one.laddr.port}" for one in psutil.Process().net_connections() if one.laddr}
        return len([client for client in clients if client["addr"] not in mine])

    async def commands(self) -> int:
        return int((await self.store.redis.info("stats"))["total_commands_processed"])

    async def watch(self, client: httpx.AsyncClient, task_id: str) -> list[str | None]:
        """The ids of all events that one watcher got, on a connection of its own."""
        async with AsyncExitStack() as stack:
            async with self.connecting:
                reader = await stack.enter_async_context(events_of(client, task_id))
                ids = [(await anext(reader)).id]
                self.connected += 1
            ids += [event.id async for event in reader]
            return ids

    async def run_tasks(self) -> None:
        claims: list[Claim] = []
        number = 0
        while len(claims) < len(self.tasks):
            number += 1
            claims += (await self.store.claim("w1", number, room=100, extra=0, models={"M": None})).tasks
        for call in range(1, CALLS + 1):
            for phase, place in (("start", 2 * call - 1), ("end", 2 * call)):
                text = json.dumps({
                    "kind": "tool", "phase": phase, "number": call, "name": "adder", "arguments": "x" * 200,
                })  # fmt: skip
                batch = StepBatch(place, [StepNote(text, time.monotonic())])
                await self.store.step([(claim.task_id, claim.fence, batch) for claim in claims])
            await asyncio.sleep(0.05)
        await self.store.settle([
            Settlement(task_id=claim.task_id, fence=claim.fence, kind="success", result="done") for claim in claims
        ])  # fmt: skip

    async def run(self) -> None:
        limits = httpx.Limits(max_connections=None)
        address = f"http://127.0.0.1:{self.port}"
        async with httpx.AsyncClient(base_url=address, timeout=120, trust_env=False, limits=limits) as client:
            while True:
                try:
                    await client.get("/health")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
            await self.measure(client)

    async def measure(self, client: httpx.AsyncClient) -> None:
        for task_id in self.tasks:
            await self.store.submit(NewTask(task_id=task_id, caller="local", message="x", model="M"))
        print(f"before            {self.memory_mib():6.0f} MiB   {await self.redis_connections()} Redis connections")
        watching = [
            asyncio.create_task(self.watch(client, self.tasks[n % len(self.tasks)])) for n in range(self.watchers)
        ]
        while self.connected < self.watchers:
            await asyncio.sleep(0.1)
            for one in watching:
                if one.done():
                    one.result()
        print(f"all watch, idle   {self.memory_mib():6.0f} MiB   {await self.redis_connections()} Redis connections")
        before = await self.commands()
        await asyncio.sleep(10)
        print(f"commands in 10 s  {await self.commands() - before - 1:6}")
        began = time.monotonic()
        await self.run_tasks()
        found = await asyncio.gather(*watching)
        took = time.monotonic() - began
        lost = twice = sent = 0
        whole = {task_id: [one.id for one in (await self.store.history(task_id)).events] for task_id in self.tasks}
        for number, ids in enumerate(found):
            expected = whole[self.tasks[number % len(self.tasks)]]
            wanted = [*expected, f"{expected[-1]}.result"]
            sent += len(ids)
            lost += len(set(wanted) - set(ids))
            twice += len(ids) - len(set(ids))
            assert ids == wanted or lost or twice, "out of order"
        print(f"after             {self.memory_mib():6.0f} MiB   {await self.redis_connections()} Redis connections")
        print(f"events            {sent} in {took:.1f} s, {lost} lost, {twice} twice")


async def main() -> None:
    watchers, tasks = (int(argument) for argument in sys.argv[1:3] or ("1000", "100"))
    with tempfile.TemporaryDirectory(prefix="longhaul-bench-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        bench = Bench(server, watchers, tasks)
        try:
            async with AsyncExitStack() as stack:
                stack.push_async_callback(bench.store.redis.aclose)
                await bench.run()
        finally:
            bench.gateway.terminate()
            await asyncio.to_thread(bench.gateway.wait, 30)
            server.kill()


if __name__ == "__main__":
    asyncio.run(main())
