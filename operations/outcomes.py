"""A pytest plugin that writes which tests failed and which passed, for `manage.py test`: `--outcomes FILE`.

The file is written at the end of the run, by the process that hands the tests out.
"""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel


class Outcomes(BaseModel):
    failed: list[str] = []
    """Ids, also of tests whose fixtures failed or whose process died."""
    passed: list[str] = []
    not_collected: list[str] = []
    """Files that could not be read: who knows what is in them."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--outcomes", type=Path, metavar="FILE", help="where to write which tests failed and passed")


def pytest_configure(config: pytest.Config) -> None:
    file: Path | None = config.getoption("outcomes")
    if file is not None and not hasattr(config, "workerinput"):  # which one of xdist's processes has
        config.pluginmanager.register(_Recorder(file))


class _Recorder:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._passed: dict[str, bool] = {}
        self._not_collected: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._passed[report.nodeid] = False
        elif report.when == "call" and report.passed:
            self._passed.setdefault(report.nodeid, True)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._not_collected.append(report.nodeid)

    def pytest_sessionfinish(self, **_: Any) -> None:
        found = Outcomes(
            failed=[test for test, passed in self._passed.items() if not passed],
            passed=[test for test, passed in self._passed.items() if passed],
            not_collected=self._not_collected,
        )
        self._file.write_text(found.model_dump_json(), encoding="utf-8")
