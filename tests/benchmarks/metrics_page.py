"""What a metrics page costs: `python -m tests.benchmarks.metrics_page [TASKS]`. A real Redis, one gateway process.

Queues 10,000 tasks of ten callers and asks for 50 pages. Prints how long they took (p50, p99), how large they are, and
how many Redis commands a page is, those inside its script too; before that the same for an empty queue, and beside both
what GET /health takes, which is the cost of any answer.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from core_config import ROOT, Settings
from taskstore.connection import connect
from taskstore.records import NewTask
from taskstore.store import TaskStore
from tests.conftest import RedisServer, free_port

PAGES = 50
CALLERS = 10
OWN = {"cmdstat_info", "cmdstat_config|resetstat"}


async def until_up(client: httpx.AsyncClient, gateway: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + 60
    while True:
        assert gateway.poll() is None, "the gateway ended"
        assert time.monotonic() < until, "the gateway did not come up"
        try:
            await client.get("/health")
        except httpx.TransportError:
            await asyncio.sleep(0.1)
        else:
            return


async def timed(client: httpx.AsyncClient, path: str) -> tuple[list[float], int]:
    """Milliseconds of each answer, and the last one's bytes."""
    took, size = [], 0
    for _ in range(PAGES):
        began = time.perf_counter()
        size = len((await client.get(path)).content)
        took.append((time.perf_counter() - began) * 1000)
    return sorted(took), size


async def show(what: str, client: httpx.AsyncClient, redis_client: Any) -> None:
    await timed(client, "/metrics")  # what is slow only once
    await redis_client.config_resetstat()
    pages, size = await timed(client, "/metrics")
    stats = await redis_client.info("commandstats")
    script = stats["cmdstat_evalsha"]["usec_per_call"] / 1000
    commands = sum(stat["calls"] for name, stat in stats.items() if name not in OWN) / PAGES
    health, _ = await timed(client, "/health")
    print(
        f"{what}: page p50 {statistics.median(pages):.1f} ms, p99 {pages[-1]:.1f} ms, {size} bytes; "
        f"{commands:.0f} Redis commands (and INFO twice), its script {script:.2f} ms; "
        f"/health p50 {statistics.median(health):.1f} ms"
    )


async def main(tasks: int) -> None:
    with tempfile.TemporaryDirectory(prefix="longhaul-bench-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        port = free_port()
        environment = {
            **os.environ, "REDIS_URL": server.url, "KEY_PREFIX": "bench:", "GATEWAY_PORT": str(port),
            "LOG_LEVEL": "WARNING",
        }  # fmt: skip
        gateway = subprocess.Popen([sys.executable, "-m", "gateway"], cwd=ROOT, env=environment)
        try:
            url = f"http://127.0.0.1:{port}"
            async with connect(server.url) as redis_client, httpx.AsyncClient(base_url=url, trust_env=False) as client:
                await until_up(client, gateway)
                store = TaskStore(redis_client, Settings(redis_url=server.url, key_prefix="bench:"))
                await show("nothing queued", client, redis_client)
                for number in range(tasks):
                    caller = f"caller-{number % CALLERS}"
                    await store.submit(NewTask(task_id=f"{number:032x}", caller=caller, message="x", model="Simulator"))
                await show(f"{tasks:,} queued", client, redis_client)
        finally:
            gateway.kill()
            gateway.wait()
            server.kill()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
