"""The long tests: real processes, shipped settings, counts that take minutes. `manage.py test --long` runs them all,
`python -m pytest tests/long -k NAME` some. Nobody else collects this folder (`norecursedirs` in pyproject.toml).
"""

import shlex
import sys
from pathlib import Path

import pytest

from tests.long.report import Report, as_page, as_table, write

REPORT = pytest.StashKey[Report]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--report", metavar="FILE", help="where the table of the long tests is written, as Markdown")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[REPORT] = Report()


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> Report:
    """Takes what a test counted or measured: `report("tasks lost", "0", str(lost), met=lost == 0)`."""
    return request.config.stash[REPORT]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash[REPORT].rows
    if not rows:
        return
    terminalreporter.section("counted and measured")
    for line in as_table(rows):
        terminalreporter.write_line(line)
    if path := config.getoption("--report"):
        failed = [found.nodeid for word in ("failed", "error") for found in terminalreporter.getreports(word)]
        command = shlex.join(["python", "-m", "pytest", *config.invocation_params.args])
        write(Path(path), as_page(rows, command, failed))
        terminalreporter.write_line(f"written to {path}")
    sys.stdout.flush()
