"""What the workers say of the agents: the last one to start speaks for all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NOBODY_HAS_IT = (
    "No worker has this agent: they started with another AGENTS_FILE, or are being replaced right now. "
    "`manage.py restart` makes gateway and workers read the same file."
)


@dataclass(frozen=True, slots=True)
class AgentReport:
    """A worker's word on one agent."""

    problem: str | None
    """Why it cannot be run, for operators: it may name files. None when it can."""
    worker: str
    said_ms: int
    """How long ago, milliseconds."""


def flat_of(agents: Mapping[str, str | None]) -> list[str]:
    """Names and problems in turn, as report.lua takes them."""
    return [part for name, problem in agents.items() for part in (name, problem or "")]


def reports_of(rows: Sequence[Sequence[str]]) -> dict[str, AgentReport]:
    """From overview.lua's rows, by name."""
    return {name: AgentReport(problem or None, worker, int(ago)) for name, problem, worker, ago in rows}
