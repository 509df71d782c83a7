"""What `--compare` calls worse: by the ratio to a contender of both runs, or by value where that means something."""

import pytest

from loadtest.bench.comparison import changes
from loadtest.bench.study import BEST_PEER, LONGHAUL, Contender, Goal, Row, Sample, Study
from loadtest.bench.tables import compared
from loadtest.bench.verdicts import verdicts_of


async def nothing(stage):
    return {}


def run(values, *, better="lower", counted=False, goals=()):
    row = Row("r", "a row", "ms", better, goals, counted=counted)
    contenders = tuple(Contender(name, nothing, "ours" if name == LONGHAUL else "peer") for name in values)
    found = [Sample("r", name, value, at) for name, series in values.items() for at, value in enumerate(series, 1)]
    return verdicts_of([Study("s", (row,), contenders)], found)


def change(then, now, *, same_machine=True, **row):
    (found,) = changes(run(then, **row), run(now, **row), same_machine=same_machine)
    return found


@pytest.mark.parametrize(
    ("now", "word"), [(10, "same"), (10.9, "same"), (11.1, "worse"), (12.1, "much worse"), (8.9, "better")]
)
def test_lower_is_better(now, word):
    assert change({LONGHAUL: [10], "arq": [20]}, {LONGHAUL: [now], "arq": [20]}).word == word


@pytest.mark.parametrize(("now", "word"), [(9.2, "same"), (9, "worse"), (8.2, "much worse"), (11.2, "better")])
def test_higher_is_better(now, word):
    found = change({LONGHAUL: [10], "arq": [20]}, {LONGHAUL: [now], "arq": [20]}, better="higher")
    assert found.word == word


@pytest.mark.parametrize("same_machine", [True, False])
def test_a_machine_that_is_three_times_slower_is_no_change(same_machine):
    found = change({LONGHAUL: [10], "arq": [20]}, {LONGHAUL: [30], "arq": [60]}, same_machine=same_machine)
    assert (found.word, found.factor, found.against) == ("same", 1, "arq")


def test_the_peer_of_the_goal_comes_before_the_best_one():
    then, now = {LONGHAUL: [10], "arq": [20], "saq": [5]}, {LONGHAUL: [10], "arq": [20], "saq": [1]}
    assert change(then, now, goals=(Goal("<=", 1, "arq"),)).word == "same"
    assert change(then, now, goals=(Goal("<=", 1, BEST_PEER),)).word == "much worse"


def test_a_peer_of_one_run_alone_is_no_measure():
    found = change({LONGHAUL: [10], "saq": [5], "arq": [20]}, {LONGHAUL: [20], "arq": [20]})
    assert (found.against, found.factor) == ("arq", 2)


def test_values_are_compared_on_the_same_machine_alone():
    assert change({LONGHAUL: [10]}, {LONGHAUL: [13]}).word == "much worse"
    assert change({LONGHAUL: [10]}, {LONGHAUL: [13]}, same_machine=False).word == "not compared"


def test_counts_are_compared_on_any_machine_and_as_they_are():
    then, now = {LONGHAUL: [2], "arq": [4]}, {LONGHAUL: [3], "arq": [6]}
    found = change(then, now, counted=True, same_machine=False)
    assert (found.against, found.factor) == (None, 1.5)


def test_rounds_that_overlap_are_said_to():
    then = {LONGHAUL: [10, 10, 14], "arq": [10, 10, 10]}
    assert change(then, {LONGHAUL: [13, 13, 13], "arq": [10, 10, 10]}).overlap
    assert not change(then, {LONGHAUL: [15, 15, 15], "arq": [10, 10, 10]}).overlap


def test_the_marks_of_the_table():
    lines = []
    for now in (10, 11.5, 13):
        found = change({LONGHAUL: [10], "arq": [20]}, {LONGHAUL: [now], "arq": [20]})
        lines.append(compared([found]).splitlines()[1].split())
    assert lines[0][:3] == ["r", "as", "then"]
    assert lines[1][:4] == ["!", "r", "15", "%"]
    assert lines[2][:4] == ["!!", "r", "30", "%"]
