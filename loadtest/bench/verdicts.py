"""From samples to what they say: medians, ratios round by round, goals. Pure."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loadtest.bench.study import BEST_PEER, Contender, Goal, Row, Sample, Study


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the least and the most of the rounds."""

    median: float
    least: float
    most: float
    at_least: bool = False

    @classmethod
    def of(cls, values: Sequence[float], *, at_least: bool = False) -> "Spread":
        return cls(statistics.median(values), min(values), max(values), at_least)


@dataclass(frozen=True, slots=True)
class Standing:
    """One contender in one row. `ratio` is the row's subject divided by it, by the rounds that have both; None for the
    subject itself. Of a value that is only known to be higher, the ratio is at most that.
    """

    contender: Contender
    value: Spread
    ratio: Spread | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A goal, the contender that it turned out to be against, and how far the subject came. `shown` is None when there
    was nothing to compare with.
    """

    goal: Goal
    against: str | None
    shown: Spread | None

    @property
    def reached(self) -> bool | None:
        return None if self.shown is None else self.goal.holds(self.shown.median)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A row with everybody who was measured in it, best first."""

    row: Row
    standings: tuple[Standing, ...]
    outcomes: tuple[Outcome, ...]


def verdicts_of(studies: Iterable[Study], samples: Iterable[Sample]) -> list[Verdict]:
    """Rows in their order; those that nobody has a sample of are left out."""
    by_row: dict[str, dict[str, dict[int, Sample]]] = defaultdict(lambda: defaultdict(dict))
    for sample in samples:
        by_row[sample.row][sample.contender][sample.round] = sample
    return [
        _verdict(row, study.contenders, by_row[row.key])
        for study in studies
        for row in study.rows
        if row.key in by_row
    ]  # fmt: skip


def _verdict(row: Row, contenders: Iterable[Contender], samples: dict[str, dict[int, Sample]]) -> Verdict:
    subject = samples.get(row.subject, {})
    standings = []
    for contender in contenders:
        theirs = samples.get(contender.name)
        if not theirs:
            continue
        value = Spread.of(
            [sample.value for sample in theirs.values()], at_least=any(sample.at_least for sample in theirs.values())
        )
        ratio = None if contender.name == row.subject else _ratio(subject, theirs)
        standings.append(Standing(contender, value, ratio))
    standings.sort(key=lambda standing: standing.value.median, reverse=row.better == "higher")
    return Verdict(row, tuple(standings), tuple(_outcome(row, goal, standings) for goal in row.goals))


def _ratio(subject: dict[int, Sample], theirs: dict[int, Sample]) -> Spread | None:
    values = [
        subject[number].value / sample.value
        for number, sample in theirs.items()
        if number in subject and sample.value > 0
    ]
    return Spread.of(values) if values else None


def _outcome(row: Row, goal: Goal, standings: Sequence[Standing]) -> Outcome:
    if goal.against is None:
        shown = next((one.value for one in standings if one.contender.name == row.subject), None)
        return Outcome(goal, None, shown)
    rival = rival_of(goal.against, standings)
    return Outcome(goal, None, None) if rival is None else Outcome(goal, rival.contender.name, rival.ratio)


def rival_of(name: str, standings: Sequence[Standing]) -> Standing | None:
    """Standings are best first."""
    if name == BEST_PEER:
        return next((one for one in standings if one.contender.kind == "peer" and one.ratio), None)
    return next((one for one in standings if one.contender.name == name), None)
