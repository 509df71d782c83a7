"""Which test process runs what, when there are several (pytest-xdist).

A file is run by one process, so that its fixtures are made once. So are all files that share a fixture which starts a
whole system. What takes longest begins first: at the end of a run one process would else work alone.
"""

import os
import re
from functools import cache

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

from core_config import ROOT

SHARED_SYSTEMS = ("system", "running_copy", "longhaul", "stumbling", "watched")
"""Fixtures that last for the session and take seconds to make."""

LONGEST_FIRST = (
    "tests/chaos/",
    "tests/edges/test_openapi_document.py",
    "tests/system/",
    "tests/page/",
    "tests/prometheus/",
    "tests/mutations/",
    "tests/edges/",
    "tests/operations/",
    "tests/worker/",
    "tests/agent/",
    "tests/taskstore/",
)


@cache
def unit_of(path: str) -> str:
    """The name of what is run in one process: a file, or the shared system that it needs."""
    text = (ROOT / path).read_text(encoding="utf-8")
    for name in SHARED_SYSTEMS:
        if re.search(rf"def test_\w+\([^)]*\b{name}\b", text):
            return name
    return path


class Schedule(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid.partition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Schedule | None:
    """Only for `--dist loadscope`, which the test command asks for."""
    return Schedule(config, log) if config.getvalue("dist") == "loadscope" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: _rank(item.nodeid))


def _rank(nodeid: str) -> int:
    return next((rank for rank, start in enumerate(LONGEST_FIRST) if nodeid.startswith(start)), len(LONGEST_FIRST))
