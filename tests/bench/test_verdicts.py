"""From samples to ratios and goals, with numbers that can be worked out by hand."""

import pytest

from loadtest.bench.study import BEST_PEER, LONGHAUL, Contender, Goal, Row, Sample, Study
from loadtest.bench.verdicts import Spread, verdicts_of


async def nothing(stage):
    return {}


def study(*goals, better="lower", subject=LONGHAUL):
    row = Row("r", "a row", "ms", better, goals, subject=subject)
    contenders = (
        Contender(LONGHAUL, nothing, "ours"),
        Contender("quick", nothing),
        Contender("slow", nothing),
        Contender("floor", nothing, "floor"),
    )
    return Study("s", (row,), contenders)


def samples(**values):
    """name -> a value for each round; None is a visit that failed."""
    return [
        Sample("r", name, value, number)
        for name, series in values.items()
        for number, value in enumerate(series, 1)
        if value is not None
    ]


def test_ratios_are_of_one_round_each():
    """A machine that is three times slower in round 2 changes no ratio."""
    (verdict,) = verdicts_of([study()], samples(Longhaul=[2, 6, 4], slow=[4, 12, 4]))
    longhaul, slow = verdict.standings
    assert (longhaul.contender.name, longhaul.ratio) == (LONGHAUL, None)
    assert longhaul.value == Spread(4, 2, 6)
    assert slow.ratio == Spread(0.5, 0.5, 1)


def test_a_round_that_one_of_them_failed_in_has_no_ratio():
    (verdict,) = verdicts_of([study()], samples(Longhaul=[None, 3, 8], slow=[1, 1, None]))
    assert next(one.ratio for one in verdict.standings if one.contender.name == "slow") == Spread(3, 3, 3)


@pytest.mark.parametrize(("better", "best"), [("lower", "quick"), ("higher", "slow")])
def test_the_best_peer_is_no_floor(better, best):
    goal = Goal("<=", 1, BEST_PEER)
    (verdict,) = verdicts_of([study(goal, better=better)], samples(Longhaul=[3], quick=[2], slow=[4], floor=[1]))
    assert verdict.outcomes[0].against == best


@pytest.mark.parametrize(
    ("goal", "reached"),
    [
        (Goal("<=", 3), True),
        (Goal("<=", 2.9), False),
        (Goal(">=", 3), True),
        (Goal(">=", 3.1), False),
        (Goal("<=", 1.5, "quick"), True),
        (Goal("<=", 1.4, "quick"), False),
        (Goal(">=", 0.75, "slow"), True),
        (Goal(">=", 0.76, "slow"), False),
        (Goal("<=", 1, "nobody"), None),
    ],
)
def test_goals(goal, reached):
    (verdict,) = verdicts_of([study(goal)], samples(Longhaul=[3], quick=[2], slow=[4]))
    assert verdict.outcomes[0].reached is reached


def test_a_goal_is_about_the_rows_subject():
    (verdict,) = verdicts_of([study(Goal("<=", 2), subject="quick")], samples(Longhaul=[9], quick=[2]))
    assert verdict.outcomes[0].reached


def test_what_was_given_up_is_said():
    given_up = Sample("r", "slow", 20, 1, at_least=True)
    (verdict,) = verdicts_of([study()], [*samples(Longhaul=[5]), given_up])
    assert verdict.standings[1].value == Spread(20, 20, 20, at_least=True)
    assert verdict.standings[1].ratio == Spread(0.25, 0.25, 0.25)


def test_a_row_without_samples_is_left_out():
    assert verdicts_of([study()], []) == []
