"""The control as the kit breaks it: `--system tests.chaos.control.system:StockArq`."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from tests.chaos import witness
from tests.chaos.longhaul import DRAIN_SECONDS
from tests.chaos.system import Place, Seen, Start


class StockArq:
    name: Final = "stock arq"
    preload: tuple[str, ...] = ("arq", "fastapi", "uvicorn", "tests.chaos.agent", "tests.chaos.control.agent")
    ready_path: Final = "/health"
    unknown_outcome: Final = ""  # it knows none, and no dead letters
    dead_letter: Final = ""
    deadline_code: Final = "deadline_exceeded"

    def gateway(self, place: Place) -> Start:
        return Start(
            environment={**self._environment(place), "GATEWAY_PORT": str(place.port)},
            module="tests.chaos.control.gateway",
        )

    def worker(self, place: Place) -> Start:
        return Start(environment=self._environment(place), module="tests.chaos.control.worker")

    def agent_name(self, agent: str) -> str:
        return agent  # and it runs the plain one, whatever its name

    def read(self, body: bytes) -> Seen:
        try:
            record = json.loads(body)
            return Seen(record["status"], record.get("error_code"))
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"no record of a task: {body[:200]!r}") from None

    async def audit(self, redis_url: str) -> Sequence[str] | None:
        return None  # it has no such look

    async def final_events(self, redis_url: str, task_ids: Collection[str]) -> Mapping[str, int] | None:
        return None  # it keeps no events

    async def report_death(self, redis_url: str, worker: str) -> None:
        """Nobody to report it to: arq waits for its key to expire."""

    def _environment(self, place: Place) -> dict[str, str]:
        return {
            **place.environment,
            "REDIS_URL": place.redis_url,
            "SIMULATOR_PORT": str(place.simulator_port),
            "SLOTS": str(place.slots),
            "MAX_TRIES": str(place.max_crashes),
            "DRAIN_SECONDS": str(DRAIN_SECONDS),
            witness.VARIABLE: str(place.witness),
        }
