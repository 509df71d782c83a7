"""A run beside a saved one: what has become worse. Pure.

Ratios are compared, to the contender that a row's first goal names or else to the best peer: a machine that is slower
today is slower for both. Counts and what was measured on the same machine without a peer are compared as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from loadtest.bench.study import BEST_PEER
from loadtest.bench.verdicts import Spread, Verdict, rival_of

WORSE, MUCH_WORSE = 1.10, 1.20

Word = Literal["much worse", "worse", "same", "better", "not compared"]
BAD: Final = frozenset({"worse", "much worse"})


@dataclass(frozen=True, slots=True)
class Change:
    """`factor` is above 1 when it is worse than then: 1.12 is by 12 percent. `against` is who the ratio is to, None
    when values were compared. `overlap`: the rounds of now and then overlap, so it may be noise.
    """

    row: str
    against: str | None
    then: Spread | None
    now: Spread | None
    factor: float | None
    overlap: bool = False

    @property
    def word(self) -> Word:
        if self.factor is None:
            return "not compared"
        if self.factor >= MUCH_WORSE:
            return "much worse"
        if self.factor >= WORSE:
            return "worse"
        return "better" if self.factor <= 1 / WORSE else "same"


def changes(then: Sequence[Verdict], now: Sequence[Verdict], *, same_machine: bool) -> list[Change]:
    """A change for each row that the subject was measured in both times."""
    before = {verdict.row.key: verdict for verdict in then}
    found = []
    for verdict in now:
        earlier = before.get(verdict.row.key)
        if earlier is not None and _subject(verdict) and _subject(earlier):
            found.append(_change(earlier, verdict, same_machine=same_machine))
    return found


def _change(then: Verdict, now: Verdict, *, same_machine: bool) -> Change:
    row = now.row
    against = None if row.counted else _common_rival(then, now)
    if against is not None:
        spreads = tuple(rival.ratio if (rival := rival_of(against, one.standings)) else None for one in (then, now))
    elif row.counted or same_machine:
        spreads = (_subject(then), _subject(now))
    else:
        spreads = (None, None)
    earlier, later = spreads
    if earlier is None or later is None:
        return Change(row.key, against, earlier, later, None)
    overlap = later.least <= earlier.most and earlier.least <= later.most
    worse = (later.median, earlier.median) if row.better == "lower" else (earlier.median, later.median)
    factor = worse[0] / worse[1] if worse[1] > 0 else None
    return Change(row.key, against, earlier, later, factor, overlap)


def _subject(verdict: Verdict) -> Spread | None:
    return next((one.value for one in verdict.standings if one.contender.name == verdict.row.subject), None)


def _common_rival(then: Verdict, now: Verdict) -> str | None:
    """Who is in both runs: whom a goal names first, else who was the best peer then, else any."""
    there = [
        {one.contender.name for one in verdict.standings if one.ratio and not one.value.at_least}
        for verdict in (then, now)
    ]
    best = rival_of(BEST_PEER, then.standings)
    named = [goal.against for goal in now.row.goals if goal.against not in (None, BEST_PEER)]
    wanted = [*named, best and best.contender.name, *(one.contender.name for one in then.standings)]
    return next((name for name in wanted if name in there[0] & there[1]), None)
