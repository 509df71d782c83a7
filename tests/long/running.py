"""A running Longhaul as the long tests see it: its HTTP interface, its agents' own journal, and Redis read directly."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import redis

from core_config import Settings
from taskstore.connection import connect
from taskstore.keys import Keys
from taskstore.store import TaskStore

T = TypeVar("T")

AGENTS_FILE = Path(__file__).with_name("agents") / "agents.toml"
FINAL = frozenset({"success", "failed", "cancelled"})


def until(probe: Callable[[], T], what: str, within_s: float = 120) -> T:
    """The first true answer of `probe`."""
    give_up = time.monotonic() + within_s
    while time.monotonic() < give_up:
        if answer := probe():
            return answer
        time.sleep(0.01)
    raise AssertionError(f"not within {within_s:g} s: {what}")


@dataclass(frozen=True)
class Line:
    """What a run wrote: it began, or it ended. `at` is the machine's monotonic clock, which all processes share."""

    task: str
    pid: int
    what: str
    at: float


class Running:
    def __init__(self, url: str, redis_url: str, folder: Path, prefix: str = "lh:") -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, trust_env=False, timeout=60)
        # redis-py types every answer as one that may have to be awaited
        self.redis: Any = redis.Redis.from_url(redis_url, decode_responses=True)
        self.keys = Keys(prefix)
        self.folder = folder
        self._settings = Settings(redis_url=redis_url, key_prefix=prefix)
        self._journal = folder / "journal"
        self._journal.touch()

    def close(self) -> None:
        self.http.close()
        self.redis.close()

    # -- clients

    def submit(self, **what: Any) -> str:
        """A task of the counting agent (tests/long/agents/counted.py)."""
        return self.post({"agent": "counted", "input": {"journal": str(self._journal), **what}})

    def post(self, body: dict[str, Any]) -> str:
        answer = self.http.post("/task", json=body)
        assert answer.status_code == 200, answer.text
        task_id: str = answer.json()["task_id"]
        return task_id

    def wait_final(self, tasks: list[str], within_s: float = 120) -> list[dict[str, str]]:
        """Their records, as they stand in Redis."""
        left = set(tasks)

        def all_ended() -> bool:
            for task in list(left):
                if self.redis.hget(self.keys.task(task), "status") in FINAL:
                    left.discard(task)
            return not left

        until(all_ended, f"{len(left)} tasks end", within_s)
        return [self.record(task) for task in tasks]

    # -- witnesses

    def record(self, task: str) -> dict[str, str]:
        found: dict[str, str] = self.redis.hgetall(self.keys.task(task))
        return found

    def ends(self, task: str) -> list[str]:
        """The final statuses that the task's stream tells of; one is right."""
        entries = self.redis.xrange(self.keys.events(task))
        return [about["status"] for _, about in entries if about["type"] == "status" and about["status"] in FINAL]

    def lines(self) -> list[Line]:
        return [Line(**json.loads(line)) for line in self._journal.read_text().splitlines()]

    def runs(self, task: str) -> list[Line]:
        """Its begins, in order."""
        return [line for line in self.lines() if line.task == task and line.what == "begin"]

    def at_work(self) -> Counter[int]:
        """How many of the journal's runs each process has not ended."""
        running: Counter[int] = Counter()
        for line in self.lines():
            running[line.pid] += 1 if line.what == "begin" else -1
        return running

    def workers(self) -> set[int]:
        """Process ids of all workers that the store has ever heard of."""
        names = self.redis.zrange(self.keys.workers(), 0, -1)
        return {int(self.redis.hget(self.keys.worker(name), "pid") or 0) for name in names}

    def audit(self) -> list[str]:
        async def look() -> list[str]:
            async with connect(self._settings.redis_address) as client:
                return await TaskStore(client, self._settings).audit()

        return asyncio.run(look())
