"""With a safeguard taken out, ordinary tests fail. Each is taken out of a copy of the project by itself."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core_config import ROOT
from tests.mutations.catalog import MUTATIONS, OWNERSHIP, Mutation, copy_of_the_project


def outcomes(copy: Path, tests: tuple[str, ...]) -> dict[str, set[str]]:
    """Test, without its parameters -> how it ended: passed, failed or error."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", "--tb=no", "-p", "no:cacheprovider", *tests],
        cwd=copy, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    ended: dict[str, set[str]] = {}
    for word, test in re.findall(r"^(PASSED|FAILED|ERROR) ([\w/.]+::\w+)", done.stdout, re.MULTILINE):
        ended.setdefault(test, set()).add(word.lower())
    assert ended, done.stdout + done.stderr
    return ended


@pytest.fixture(scope="module")
def ended(tmp_path_factory) -> dict[str, dict[str, set[str]]]:
    """Of each mutation, what became of its tests in the copy that has it."""

    def tried(mutation: Mutation) -> dict[str, set[str]]:
        copy = copy_of_the_project(tmp_path_factory.mktemp("copy"), mutation.edits)
        return outcomes(copy, (*mutation.seen_by, mutation.unharmed))

    with ThreadPoolExecutor(2) as pool:
        return dict(zip((mutation.name for mutation in MUTATIONS), pool.map(tried, MUTATIONS), strict=True))


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_without_it_ordinary_tests_fail(ended, mutation):
    """They fail in what they assert, not in how they begin: an `error` would be a copy that doesn't run."""
    became = ended[mutation.name]
    for test in mutation.seen_by:
        assert became[test] <= {"passed", "failed"}
        assert "failed" in became[test]
    assert became[mutation.unharmed] == {"passed"}


@pytest.mark.parametrize("edit", OWNERSHIP, ids=lambda edit: edit.path)
def test_what_the_long_tests_take_out_is_still_there(edit):
    assert (ROOT / edit.path).read_text(encoding="utf-8").count(edit.old) == 1
