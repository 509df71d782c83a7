"""What the kit has to know of the system that it breaks: how its processes are started and how its answers are read.

Longhaul is one (longhaul.py); a control, which is meant to fail, is another. All else about a system the kit learns
over HTTP, by the tutorial's contract:

    POST /task   {"message", "agent", "metadata", "deadline_s"?}, header Idempotency-Key  ->  200 {"task_id", ...}
    GET  /task/{task_id}?wait=SECONDS   ->  200, the record; `wait` may be ignored
    POST /task/{task_id}/cancel         ->  2xx, or 404, 405, 409 when it cannot be cancelled

An answer of 429 or 5xx, or none at all, makes the client try again. `--system tests.chaos.NAME:ATTRIBUTE` names another
system than Longhaul.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

FINAL = frozenset({"success", "failed", "cancelled"})
"""Statuses that never change again, in every system."""
CALL_SECONDS: Final = 6.0
"""Longest model call of the kit's agents, whatever drips in meanwhile."""
TOOL_SECONDS_VARIABLE: Final = "CHAOS_TOOL_SECONDS"
"""Environment variable of a worker: how long its tool takes, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One process's part of the private deployment."""

    name: str
    """`worker-1`, `gateway-1`: also what a worker should call itself."""
    redis_url: str
    """Through a TCP proxy of this process's own."""
    simulator_port: int
    port: int
    """That a gateway listens on; 0 for a worker."""
    folder: Path
    """Of the whole run: logs, data, whatever a process wants to keep."""
    witness: Path
    """The file that agents and tools append to: witness.py."""
    slots: int
    """Tasks at once in one worker."""
    lease_s: float
    """How long a worker may be silent before its tasks are another's, if the system has such a time."""
    max_crashes: int
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside what the kit sets: PATH and the like, or all of the user's own when the agent is the user's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How one process is started: its whole environment, and either a command or a module.

    A module is run as `python -m module arguments` in a process forked from one that has loaded `preload` before: what
    runs is the same, and a worker is back in a tenth of a second of processor time in place of five.
    """

    environment: Mapping[str, str]
    command: tuple[str, ...] = ()
    module: str = ""
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """What one answer to GET /task/{id} says. `code` says why a task failed, if the system tells."""

    status: str
    code: str | None = None

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


class System(Protocol):
    """A system to break. An instance is named on the command line and made without arguments."""

    name: str
    preload: tuple[str, ...]
    """Modules that are loaded once, before the processes of `Start.module` are forked."""
    ready_path: str
    """GET of it answers 200 when a task submitted now would run."""
    unknown_outcome: str
    """The `Seen.code` of a task that ended because nobody knows what a tool did that may not run twice."""
    dead_letter: str
    """The `Seen.code` of a task whose crashes are used up."""

    def gateway(self, place: Place) -> Start: ...

    def worker(self, place: Place) -> Start: ...

    def agent_name(self, agent: str) -> str:
        """What a task names to have `plain` or `real`; any other is the user's own and stays."""

    def read(self, body: bytes) -> Seen:
        """Raises ValueError for what is no record."""

    async def audit(self, redis_url: str) -> Sequence[str] | None:
        """What breaks the rules of the store, as one sentence each; None when the system has no such look. Raises
        OSError or redis's own errors when Redis does not answer. `redis_url` is Redis itself, past all proxies.
        """

    async def final_events(self, redis_url: str, task_ids: Collection[str]) -> Mapping[str, int] | None:
        """How often each task's own log says that it ended; None when it keeps none."""

    async def report_death(self, redis_url: str, worker: str) -> None:
        """Tells the system at once that this worker died, as a supervisor may. For `--report-deaths` only."""
