"""What a benchmark consists of: plain values, no input or output."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from loadtest.bench.stage import Stage

LONGHAUL: Final = "Longhaul"

BEST_PEER: Final = "the best peer"
"""In place of a contender's name: of the peers that were measured, the one with the best median."""


@dataclass(frozen=True, slots=True)
class Found:
    """One value of one row. `at_least`: the measuring was given up there, and the true value is higher."""

    value: float
    at_least: bool = False


Findings = Mapping[str, float | Found]
"""Row's key -> value. A contender may leave out rows that it cannot show."""

Kind = Literal["ours", "variant", "peer", "floor"]

Measure = Callable[[Stage], Awaitable[Findings]]


@dataclass(frozen=True, slots=True)
class Sample:
    """What one visit found for one row."""

    row: str
    contender: str
    value: float
    round: int
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a visit found nothing."""

    study: str
    contender: str
    round: int
    reason: str


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on a row's subject: on its value, or with `against` on its ratio to that contender's value."""

    sign: Literal["<=", ">="]
    bound: float
    against: str | None = None

    def holds(self, value: float) -> bool:
        return value <= self.bound if self.sign == "<=" else value >= self.bound


@dataclass(frozen=True, slots=True)
class Row:
    """One measure. `key` names it in `--rows` and in saved runs.

    `subject` is the contender that the goals are about. `counted`: the value counts things, so it is the same on any
    machine. `measured_by` says in a sentence what was done, for the documentation.
    """

    key: str
    title: str
    unit: str
    better: Literal["lower", "higher"]
    goals: tuple[Goal, ...] = ()
    subject: str = LONGHAUL
    counted: bool = False
    measured_by: str = ""


@dataclass(frozen=True, slots=True)
class Contender:
    """`kind`: a floor is no peer (nothing that does the job can be as fast); a variant is ours in another setting.
    `peers_environment`: it runs there, so that has to be installed.
    """

    name: str
    measure: Measure
    kind: Kind = "peer"
    peers_environment: bool = False


@dataclass(frozen=True, slots=True)
class Study:
    """Rows that one visit measures together, and who is visited.

    `seconds` bounds one visit; `most_rounds` is for what takes long and varies little; `long_only` is left out unless
    `--long` asks for it.
    """

    key: str
    rows: tuple[Row, ...]
    contenders: tuple[Contender, ...]
    seconds: float = 60.0
    most_rounds: int | None = None
    long_only: bool = False
