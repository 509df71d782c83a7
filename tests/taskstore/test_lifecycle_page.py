"""docs/task-lifecycle.md, `TRANSITIONS` and the tested edges say the same."""

import re
from pathlib import Path

from taskstore.error_codes import ErrorCode
from taskstore.scripts import FOLDER
from taskstore.states import FINAL, TRANSITIONS, Status

from .test_edges import CASES

PAGE = (Path(__file__).parents[2] / "docs" / "task-lifecycle.md").read_text()
ARROWS = re.findall(r"^    (\S+) --> (\S+)(?: : (\w+))?$", PAGE, flags=re.MULTILINE)
EDGES = {(start, verb, end) for start, end, verb in ARROWS if verb}


def test_the_diagrams_edges_are_those_of_the_table() -> None:
    drawn = EDGES - {("[*]", "submit", "pending")}
    for verb, (starts, ends) in TRANSITIONS.items():
        assert {start for start, of, _ in drawn if of == verb} == {status.value for status in starts}, verb
        assert {end for _, of, end in drawn if of == verb} == {status.value for status in ends}, verb
    assert {verb for _, verb, _ in drawn} == TRANSITIONS.keys()


def test_each_edge_of_the_diagram_is_tested_and_no_other() -> None:
    assert {("[*]", "submit", "pending")} == EDGES - {(case.start, case.verb, case.end) for case in CASES}
    assert {(case.start, case.verb, case.end) for case in CASES} <= EDGES


def test_the_final_statuses_of_the_diagram_are_final() -> None:
    assert {start for start, end, _ in ARROWS if end == "[*]"} == {status.value for status in FINAL}


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its two head lines."""
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_type_of_entry_is_explained() -> None:
    lua = "\n".join(path.read_text() for path in FOLDER.glob("*.lua"))
    written = set(re.findall(r"\bevent\(\w+, \w+, '(\w+)'", lua)) | set(re.findall(r"'type', '(\w+)'", lua))
    assert {row[0].strip("`") for row in rows("What the stream says")} == written


def test_every_status_and_every_verb_is_explained() -> None:
    assert [row[0].strip("`") for row in rows("Statuses")] == [status.value for status in Status]
    verbs = [verb for row in rows("Verbs") for verb in row[0].split(", ")]
    assert sorted(verbs) == sorted([*TRANSITIONS, "submit", "renew", "step", "report", "purge"])
    named = set(re.findall(r"`failed` / `(\w+)`", PAGE))
    assert named <= {code.value for code in ErrorCode}
