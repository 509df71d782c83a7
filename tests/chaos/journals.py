"""What was seen from outside: the evidence that the verdict is made of. Times are time.time() of the machine."""

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from tests.chaos.schedule import Kind
from tests.chaos.witness import Line


class Errand(StrEnum):
    """What a client does with a task."""

    PLAIN = "plain"
    TWICE = "twice"
    """Submits it twice at once, with one idempotency key."""
    CANCEL = "cancel"
    LATE = "late"
    """Its model never answers, and its deadline is soon: it must fail."""
    POISON = "poison"
    """It ends every process that runs it."""


@dataclass(slots=True)
class Told:
    """One task, as its client knows it."""

    key: str
    errand: Errand
    deadline_s: float | None = None
    ids: list[str] = field(default_factory=list)
    """Every id that was acknowledged for the one idempotency key, in order of the answers."""
    acknowledged_at: float = 0.0
    refused: str = ""
    """What the gateway said, when it refused the task for good."""
    cancel_at: float | None = None
    """When a cancel was acknowledged."""
    missing: int = 0
    """Answers 404 to a look at the task after its acknowledgement."""
    final: bytes | None = None
    final_at: float = 0.0
    again: list[bytes | None] = field(default_factory=list)
    """Later looks at a final record: its bytes, or None for 404."""

    @property
    def is_acknowledged(self) -> bool:
        return bool(self.ids)


@dataclass(frozen=True, slots=True)
class Call:
    """One model call, as the simulator saw it."""

    key: str
    step: int
    at: float
    outcome: str
    """docs/simulator.md, journal."""
    fault: str | None = None
    """What the simulator was told to do wrong in it."""

    @property
    def failed(self) -> bool:
        """Whether the provider is why it has to be made again."""
        return self.fault is not None or self.outcome in {"failed", "broken", "refused"}


@dataclass(slots=True)
class Strike:
    """A fault that struck. `until` is when it was healed: the same moment for a kill, but for one of Redis when it was
    back.
    """

    number: int
    kind: Kind
    at: float
    until: float
    victims: list[str]
    pids: list[int]
    in_model: int
    in_tool: int


@dataclass(frozen=True, slots=True)
class Death:
    name: str
    pid: int
    at: float
    code: int
    """As subprocess's returncode."""
    asked: bool
    """Whether the kit ended it."""


@dataclass(slots=True)
class Evidence:
    told: dict[str, Told] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    """In the order in which they began."""
    unmarked_calls: int = 0
    """Model calls that name no task."""
    lines: list[Line] = field(default_factory=list)
    strikes: list[Strike] = field(default_factory=list)
    skipped: int = 0
    """Faults that did not strike, for too little was in flight."""
    deaths: list[Death] = field(default_factory=list)
    stalls: list[tuple[float, float]] = field(default_factory=list)
    """When the machine stood still, from and until."""
    audits: int | None = 0
    """How often the store was audited; None if it has no audit."""
    findings: list[str] = field(default_factory=list)
    final_events: dict[str, int] | None = None
    """By task id; None if the system keeps none."""
    seconds: float = 0.0


class ClientLog:
    """A line of JSON for all that a client was told, in the order in which it was told: for reading after a run."""

    def __init__(self, path: Path) -> None:
        self._out = path.open("a", encoding="utf-8", buffering=1)

    def say(self, at: float, what: str, told: Told, more: str = "") -> None:
        self._out.write(json.dumps([round(at, 3), what, told.key, told.ids[-1:], more]) + "\n")

    def close(self) -> None:
        self._out.close()


def save(evidence: Evidence, folder: Path) -> None:
    """Faults and deaths beside the client's log and the witness file, for reading after a run."""
    (folder / "strikes.jsonl").write_text("".join(json.dumps(asdict(one)) + "\n" for one in evidence.strikes))
    (folder / "deaths.jsonl").write_text("".join(json.dumps(asdict(one)) + "\n" for one in evidence.deaths))
    (folder / "calls.jsonl").write_text("".join(json.dumps(asdict(one)) + "\n" for one in evidence.calls))
    (folder / "findings.txt").write_text("".join(f"{one}\n" for one in evidence.findings))
