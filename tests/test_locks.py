"""The two locks: what the programs need, and what development needs besides, in the same versions."""

import re
import tomllib
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from core_config import ROOT

from .test_house import OURS, imported

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pins(name: str) -> dict[str, str]:
    """Of each package of a lock its version and hashes; without the condition, which another package may lift."""
    text = (ROOT / name).read_text(encoding="utf-8")
    found = re.findall(r"^([\w.-]+)==([^\s;]+)[^\\\n]*\\\n((?:    --hash=.*\n)+)", text, re.MULTILINE)
    assert len(found) == len(re.findall(r"^\w", text, re.MULTILINE)), "every one has its hashes"
    return {canonicalize_name(package): f"{version} {hashes}" for package, version, hashes in found}


FOR_ALL, FOR_DEVELOPMENT = pins("requirements.lock"), pins("requirements-dev.lock")


def test_development_has_what_the_programs_have_in_the_same_versions() -> None:
    assert {name: FOR_DEVELOPMENT.get(name) for name in FOR_ALL} == FOR_ALL


@pytest.mark.parametrize(
    ("asked", "lock"),
    [(PROJECT["project"]["dependencies"], FOR_ALL), (PROJECT["dependency-groups"]["dev"], FOR_DEVELOPMENT)],
    ids=["programs", "development"],
)
def test_what_pyproject_asks_for_is_pinned(asked: list[str], lock: dict[str, str]) -> None:
    for requirement in map(Requirement, asked):
        version = lock[canonicalize_name(requirement.name)].split()[0]
        assert version in requirement.specifier, f"{requirement}: make the locks anew (CONTRIBUTING.md)"


def test_tools_are_not_installed_on_a_machine_that_only_runs_longhaul() -> None:
    assert not {"mypy", "ruff", "pytest-xdist", "hypothesis", "schemathesis"} & FOR_ALL.keys()


def test_programs_import_nothing_that_only_development_has() -> None:
    """But for the boards' own code, which writes the files that are committed."""
    packages = packages_distributions()
    files = [path for part in OURS for path in (ROOT / part).rglob("*.py")]
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in [*files, *ROOT.glob("*.py")]
        if not path.is_relative_to(ROOT / "monitoring" / "grafana")
        for name in imported(path)
        if name in packages and not {canonicalize_name(package) for package in packages[name]} & FOR_ALL.keys()
    }
    assert wrong == set()
