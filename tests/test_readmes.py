"""The Chinese README says what the English one says: the same parts in the same order, and nothing in code differs."""

import re
from itertools import zip_longest

from core_config import ROOT

ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")


def blocks(page: str) -> list[str]:
    """What is indented as code, block by block, as the reader copies it."""
    found = re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", page, re.MULTILINE)
    assert found
    return found


def outline(page: str) -> list[str]:
    """What each line is, where that is not prose: `##`, a table's row with its number of cells, a list's item."""
    kinds = []
    for line in page.splitlines():
        if line.startswith("#"):
            kinds.append(line.partition(" ")[0])
        elif line.startswith("|"):
            kinds.append(f"row of {line.count(' | ') + 1}")
        elif line.startswith("- "):
            kinds.append("item")
    return kinds


def names(page: str) -> list[list[str]]:
    """By heading: what stands in backquotes and where links lead, in alphabetical order, as a sentence may turn it."""
    prose = re.sub(r"^    .*$", "", page, flags=re.MULTILINE)
    parts = re.split(r"^#.*$", prose, flags=re.MULTILINE)
    return [sorted(re.findall(r"`([^`]+)`|\]\(([^)]+)\)", part)) for part in parts[2:]]


def test_code_is_the_same() -> None:
    for number, (english, chinese) in enumerate(zip_longest(blocks(ENGLISH), blocks(CHINESE)), 1):
        assert english == chinese, f"code block {number} of README.zh-CN.md differs from README.md's"


def test_headings_tables_and_lists_correspond() -> None:
    assert outline(CHINESE) == outline(ENGLISH)


def test_the_same_names_and_links_stand_under_each_heading() -> None:
    headings = re.findall(r"^#+ (.*)$", ENGLISH, re.MULTILINE)[1:]
    for heading, english, chinese in zip(headings, names(ENGLISH), names(CHINESE), strict=True):
        assert chinese == english, f"under {heading!r}"


def test_each_leads_to_the_other() -> None:
    assert "](README.zh-CN.md)" in ENGLISH
    assert "](README.md)" in CHINESE
