"""An agent that a task's input tells what to do, and that writes down when it begins and ends: a witness of its own.

Input: `journal`, a file; and `until`, a file that it waits for, or `seconds`. `busy` keeps its event loop busy
meanwhile, so many seconds at a time; `stall` first blocks the loop for so many. A line of the journal is one write: no
kill cuts it.
"""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any


async def run(given: dict[str, Any], ctx: Any) -> str:
    _write(given, ctx, "begin")
    time.sleep(given.get("stall", 0))  # the fault that is asked for
    until = time.monotonic() + given.get("seconds", float("inf"))
    file = Path(given["until"]) if "until" in given else None
    while time.monotonic() < until and not (file and file.exists()):
        if busy := given.get("busy"):
            _compute(busy)
            await asyncio.sleep(0)
        else:
            await asyncio.sleep(min(0.02, max(0.0, until - time.monotonic())))
    _write(given, ctx, "end")
    return "done"


def _compute(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def _write(given: dict[str, Any], ctx: Any, what: str) -> None:
    line = {"task": ctx.task.id, "pid": os.getpid(), "what": what, "at": time.monotonic()}
    with Path(given["journal"]).open("a") as journal:
        journal.write(json.dumps(line) + "\n")
