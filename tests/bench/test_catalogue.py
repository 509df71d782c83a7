"""What can be measured: names that mean one thing, goals about contenders that there are, and `--rows` and `--only`."""

import pytest

from loadtest.bench import catalogue
from loadtest.bench.study import BEST_PEER
from operations.bench import listed

ROWS = [(study, row) for study in catalogue.STUDIES for row in study.rows]


def test_a_name_of_a_row_or_study_is_given_once():
    names = [study.key for study in catalogue.STUDIES]
    names += [row.key for study, row in ROWS if row.key != study.key]
    assert len(names) == len(set(names))


def test_no_name_holds_a_comma_which_parts_them_on_the_command_line():
    assert not [one.name for study in catalogue.STUDIES for one in study.contenders if "," in one.name]


@pytest.mark.parametrize(("study", "row"), ROWS, ids=[row.key for _, row in ROWS])
def test_goals_and_subjects_are_of_the_study(study, row):
    names = {contender.name for contender in study.contenders}
    assert row.subject in names
    assert {goal.against for goal in row.goals} <= names | {None, BEST_PEER}
    assert row.measured_by.endswith(".")


def test_all_rows_are_listed():
    said = listed(catalogue.STUDIES)
    assert all(f"  {row.key} " in said and row.measured_by in said for _, row in ROWS)


def test_a_row_chooses_its_study():
    assert [study.key for study in catalogue.chosen(["noop"], long=False)] == ["queue"]
    assert [study.key for study in catalogue.chosen(["queue", "submit"], long=False)] == ["queue"]


def test_long_studies_are_measured_when_they_are_asked_for():
    quick = catalogue.chosen([], long=False)
    assert [study for study in catalogue.STUDIES if not study.long_only] == quick
    assert catalogue.chosen([], long=True) == list(catalogue.STUDIES)


def test_only_some_contenders():
    (study,) = catalogue.chosen(["queue"], ["arq", "SAQ"], long=False)
    assert [contender.name for contender in study.contenders] == ["arq", "SAQ"]
    assert catalogue.chosen(["slots"], ["raw BLPOP"], long=False) == []


@pytest.mark.parametrize(("rows", "only"), [(["nop"], []), ([], ["ark"])])
def test_an_unknown_name_is_told_with_those_that_there_are(rows, only):
    with pytest.raises(catalogue.UnknownNameError, match=r"no (row 'nop'|contender 'ark').*(noop|arq)"):
        catalogue.chosen(rows, only, long=False)
