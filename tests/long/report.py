"""What the long tests counted and measured, as one table."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True)
class Row:
    what: str
    goal: str
    measured: str
    met: bool


class Report:
    """Tests call it, once for each thing that they counted or measured: `report(what, goal, measured, met=...)`.

    A wrong count also fails the test, by an assertion of its own; a time never does.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def __call__(self, what: str, goal: str, measured: str, *, met: bool) -> None:
        self.rows.append(Row(what, goal, measured, met))
        print(f"{what}: {measured} (goal: {goal}; {'met' if met else 'MISSED'})")  # noqa: T201  for `pytest -s`


def as_table(rows: Sequence[Row]) -> list[str]:
    """A Markdown table that also reads well as plain text."""
    cells = [("what", "goal", "measured", "met")]
    cells += [(row.what, row.goal, row.measured, "yes" if row.met else "**no**") for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def as_page(rows: Sequence[Row], command: str, failed: Sequence[str]) -> str:
    """`failed`: ids of tests that failed; what those would have reported may be missing."""
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    lines = [
        f"Measured until {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {machine}, load at the end {load} (1, 5, 15 minutes).",
        f"Command: `{command}`",
        "",
        *as_table(rows),
    ]
    if failed:
        lines += ["", "Failed, so that rows may be missing:", "", *(f"- {nodeid}" for nodeid in failed)]
    return "\n".join(lines) + "\n"


def write(path: Path, page: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
