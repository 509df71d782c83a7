"""A program in the worker's place: it reports to the real store and claims tasks, but never finishes one.

Of agents it knows what `agent/reload_probe.py` of its copy says in `AGENTS`, if there is one; broken code ends it.
"""

import argparse
import asyncio
import importlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from core_config import Settings
from taskstore.connection import connect
from taskstore.records import WorkerInfo
from taskstore.store import TaskStore

AGENTS: dict[str, str | None] = {"default": None}
if Path("agent/reload_probe.py").exists():
    AGENTS = importlib.import_module("agent.reload_probe").AGENTS


async def work(worker_id: str) -> None:
    settings = Settings()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    me = WorkerInfo(worker_id, socket.gethostname(), os.getpid(), "stand-in", 2, 0)
    number = 0
    async with connect(settings.redis_address) as client:
        store = TaskStore(client, settings)
        await store.report(worker_id, AGENTS)
        while not stop.is_set():
            number += 1
            await store.renew(me, [])
            await store.claim(worker_id, number, room=2, extra=0, models={"Simulator": None})
            await asyncio.sleep(0.1)


sys.stderr.write("the stand-in worker speaks\n")
if os.environ.get("WORKER_HAS_CHILD"):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
if os.environ.get("WORKER_IS_DEAF"):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
if os.environ.get("WORKER_BREAKS"):
    sys.exit("the stand-in worker breaks, as it was told to")
parser = argparse.ArgumentParser()
parser.add_argument("--id", required=True)
parser.add_argument("--metrics-fd", type=int)
asyncio.run(work(parser.parse_args().id))
