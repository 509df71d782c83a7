"""docs/faults.md names every fault once, and only tests that are there."""

import re
from pathlib import Path

import pytest

from core_config import ROOT

ROWS = re.findall(r"^\| F(\d+) \| (.+) \| (.+) \| (.+) \|$", (ROOT / "docs" / "faults.md").read_text(), re.MULTILINE)
WITHOUT = {"not shown", "not built"}


def test_every_fault_is_there_once():
    assert sorted(int(row[0]) for row in ROWS) == list(range(1, 38))


@pytest.mark.parametrize("row", ROWS, ids=[f"F{row[0]}" for row in ROWS])
def test_its_tests_are_there(row):
    shown_by = row[3]
    if shown_by in WITHOUT:
        return
    names = shown_by.split(" ")
    for name in names:
        assert re.fullmatch(r"`tests/[\w/]+\.py::test_\w+`", name), name
        file, _, test = name.strip("`").partition("::")
        assert Path(ROOT, file).exists(), file
        assert re.search(rf"^(async )?def {test}\(", Path(ROOT, file).read_text(), re.MULTILINE), test
