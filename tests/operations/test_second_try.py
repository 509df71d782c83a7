"""`manage.py test`: what failed beside others is tried once more, alone. Real pytest, in several processes and in one,
on small projects.
"""

import sys
from pathlib import Path

import pytest

from core_config import ROOT
from operations import commandline
from operations import test as command

FINE = (sys.executable, "-c", "pass")
TESTS = """
import pytest

@pytest.fixture
def beside_others(request):
    return hasattr(request.config, "workerinput")

def test_right(): pass
"""
CROWDED = """
def test_crowded(beside_others): assert not beside_others
"""
WRONG = """
def test_wrong(): raise AssertionError("so it is")
"""
SKIPPED = """
def test_skipped(beside_others):
    if not beside_others: pytest.skip("alone")
    raise AssertionError
"""
DIES = """
def test_dies(beside_others):
    if beside_others:
        import os
        os._exit(1)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Whose tests `manage.py test` runs, in one process beside its own."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:valkey -p no:schemathesis -p no:cacheprovider\n")
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)  # of the process that runs this
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(command, "QUICK", ())
    monkeypatch.setattr(command, "TYPES", FINE)
    monkeypatch.setattr(command, "_MOST_PROCESSES", 1)
    return tmp_path


def run(project: Path, capfd: pytest.CaptureFixture[str], *tests: str, options: tuple[str, ...] = ()) -> list[str]:
    """The exit code, and the summary without its times."""
    (project / "test_it.py").write_text(TESTS + "".join(tests))
    code = commandline.run("test", options)
    summary = capfd.readouterr().out.partition("== summary\n")[2].splitlines()
    return [str(code), *(line.rsplit(maxsplit=2)[0].strip() if line.endswith(" s") else line for line in summary)]


def test_what_passes_alone_fails_no_run_and_is_told(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(project, capfd, CROWDED, DIES) == [
        "0",
        "ok     types",
        "FAILED tests",
        "ok     second try",
        "failed beside others, passed alone: test_it.py::test_crowded, test_it.py::test_dies",
    ]


def test_what_fails_alone_or_is_not_run_there_has_failed(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(project, capfd, CROWDED, WRONG, SKIPPED) == [
        "1",
        "ok     types",
        "FAILED tests",
        "FAILED second try",
        "failed beside others, passed alone: test_it.py::test_crowded",
        "failed beside others, FAILED alone: test_it.py::test_wrong, test_it.py::test_skipped",
    ]
    assert run(project, capfd, SKIPPED)[0] == "1", "though pytest itself says that nothing failed"


def test_another_step_that_failed_is_not_forgiven(
    project: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "TYPES", (sys.executable, "-c", "raise SystemExit(1)"))
    assert run(project, capfd, CROWDED)[:4] == ["1", "FAILED types", "FAILED tests", "ok     second try"]


@pytest.mark.parametrize(
    ("tests", "options"),
    [
        ([CROWDED], ("--no-second-try",)),
        ([CROWDED.replace("crowded(", f"crowded_{number}(") for number in range(6)], ()),
    ],
    ids=["not wanted", "too many"],
)
def test_there_is_no_second_try(
    tests: list[str], options: tuple[str, ...], project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(project, capfd, *tests, options=options) == ["1", "ok     types", "FAILED tests"]


def test_a_run_that_was_broken_off_gets_none(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (project / "conftest.py").write_text("def pytest_sessionfinish(session): session.exitstatus = 3\n")
    assert run(project, capfd, CROWDED) == ["1", "ok     types", "FAILED tests"]


def test_a_file_that_cannot_be_read_gets_none(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (project / "test_broken.py").write_text("import no_such_module\n")
    assert run(project, capfd, CROWDED) == ["1", "ok     types", "FAILED tests"]
