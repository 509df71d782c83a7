"""Longhaul, as the kit breaks it: `python -m gateway` and `python -m worker`, each with settings of its own."""

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from core_config import SIMULATOR, Settings
from taskstore.connection import connect
from taskstore.store import TaskStore
from tests.chaos import witness
from tests.chaos.system import CALL_SECONDS, FINAL, Place, Seen, Start

AGENTS_FILE: Final = Path(__file__).with_name("agents.toml")
MAX_RETRIES: Final = 8
"""A fault every few seconds uses up the shipped three, rightly."""
DRAIN_SECONDS: Final = 2
_PAGE: Final = 500


class Longhaul:
    name = "longhaul"
    preload: tuple[str, ...] = ("tests.chaos.warm",)
    ready_path = "/ready"
    unknown_outcome = "tool_outcome_unknown"
    dead_letter = "worker_lost"

    def gateway(self, place: Place) -> Start:
        return Start(environment=self._environment(place), module="gateway")

    def worker(self, place: Place) -> Start:
        return Start(environment=self._environment(place), module="worker", arguments=("--id", place.name))

    def agent_name(self, agent: str) -> str:
        return agent

    def read(self, body: bytes) -> Seen:
        try:
            record = json.loads(body)
            return Seen(record["status"], record["error_code"])
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"no record of a task: {body[:200]!r}") from None

    async def audit(self, redis_url: str) -> Sequence[str]:
        async with _store(redis_url) as store:
            return await store.audit()

    async def final_events(self, redis_url: str, task_ids: Collection[str]) -> Mapping[str, int]:
        """Changes to a final status in each task's stream."""
        found: dict[str, int] = {}
        ids = list(task_ids)
        async with _store(redis_url) as store:
            for at in range(0, len(ids), _PAGE):
                page = ids[at : at + _PAGE]
                asked = store.redis.pipeline(transaction=False)
                for task_id in page:
                    asked.xrange(store.keys.events(task_id))
                for task_id, entries in zip(page, await asked.execute(), strict=True):
                    found[task_id] = sum(
                        fields["type"] == "status" and fields["status"] in FINAL for _, fields in entries
                    )
        return found

    async def report_death(self, redis_url: str, worker: str) -> None:
        async with _store(redis_url) as store:
            await store.sweep(dead=worker)

    def _environment(self, place: Place) -> dict[str, str]:
        chosen: dict[str, object] = {
            "REDIS_URL": place.redis_url,
            "SIMULATOR_PORT": place.simulator_port,
            "ACTIVE_MODEL_KEY": SIMULATOR,
            "VAR_DIR": place.folder / place.name,
            "WORKER_CONCURRENCY": place.slots,
            "LEASE_SECONDS": place.lease_s,
            "MAX_CRASHES": place.max_crashes,
            "MAX_RETRIES": MAX_RETRIES,
            "DRAIN_SECONDS": DRAIN_SECONDS,
            "RESULT_TTL_SECONDS": 7 * 86_400,  # every task is read again at the end, however long a run takes
            "MODEL_TIMEOUT_SECONDS": CALL_SECONDS,
            "LOG_LEVEL": "WARNING",
            "WORKER_METRICS_PORT": 0,  # one for all of them, which each would want
            witness.VARIABLE: place.witness,
        }
        if place.port:
            chosen["GATEWAY_PORT"] = place.port
        return {
            "AGENTS_FILE": str(AGENTS_FILE),
            **place.environment,
            **{name: str(value) for name, value in chosen.items()},
        }


@asynccontextmanager
async def _store(redis_url: str) -> AsyncIterator[TaskStore]:
    redis = connect(redis_url)
    try:
        yield TaskStore(redis, Settings(_env_file=None, redis_url=redis_url))
    finally:
        await redis.aclose()
