"""Tests that failed beside others get a second try, alone in one process, when they are few.

On a loaded machine what a test waits for may come late, and chance says which test meets that. One that passes alone is
told as such: a bug to be mended, but nothing that the change under test has broken.
"""

from collections.abc import Sequence
from pathlib import Path

from operations.outcomes import Outcomes

MOST = 5
"""More than these fail for a reason."""


def recorded_in(file: Path) -> tuple[str, ...]:
    """pytest's options that make it write `file`."""
    return ("-p", "operations.outcomes", "--outcomes", str(file))


def due(file: Path) -> list[str]:
    """The tests to try again. None when a run ended before it wrote `file`, when a file of tests could not be read, or
    when too many failed.
    """
    found = _read(file)
    return found.failed if len(found.failed) <= MOST and not found.not_collected else []


def told(tried: Sequence[str], file: Path) -> tuple[bool, list[str]]:
    """Whether all of `tried` passed alone, and a line for those that did and for those that did not."""
    passed = {*_read(file).passed}
    lines = []
    for way, tests in (
        ("passed", [test for test in tried if test in passed]),
        ("FAILED", [test for test in tried if test not in passed]),
    ):
        if tests:
            lines.append(f"failed beside others, {way} alone: {', '.join(tests)}")
    return passed.issuperset(tried), lines


def _read(file: Path) -> Outcomes:
    return Outcomes.model_validate_json(file.read_bytes()) if file.exists() else Outcomes()
