"""Tables for people: fitted to the terminal, and plain, uncut text when the output goes elsewhere."""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDTH_ELSEWHERE = 400  # wide enough that no cell is wrapped or cut in a file or a pipe


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints rows under `columns`; one that starts with `>` is set to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    is_terminal = sys.stdout.isatty()
    Console(highlight=False, width=None if is_terminal else _WIDTH_ELSEWHERE).print(made)


def megabytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 1_000_000:.0f} MB"


def duration(seconds: float) -> str:
    """`12 s`, `3 min`, `5 h`, `2 d`."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def dollars(cost: float | None) -> str:
    return "unknown" if cost is None else f"${cost:.6f}"


def plain(text: str, most: int) -> str:
    """One line of at most so many characters, without what a terminal obeys: texts come from clients and models."""
    line = "".join(character if character.isprintable() else " " for character in text[: most * 4])
    line = " ".join(line.split())
    return line if len(line) <= most and len(text) <= most * 4 else line[: most - 1] + "…"


def lines(text: str) -> str:
    """The text with its line breaks, and without what a terminal obeys."""
    return "\n".join("".join(c if c.isprintable() else " " for c in line) for line in text.splitlines())
