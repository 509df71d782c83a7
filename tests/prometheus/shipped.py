"""What ships for Prometheus and Alertmanager, read as a test needs it, and Debian's programs that judge it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from core_config import ROOT

PROMETHEUS = ROOT / "monitoring" / "prometheus"
ALERTMANAGER = ROOT / "monitoring" / "alertmanager"
RUNBOOK = ROOT / "docs" / "runbook.md"

_PACKAGES = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
}


def program(name: str) -> str:
    """The path of one of Debian's programs. Skips where it is missing, save in CI."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/local/bin:/usr/bin:/bin")
    if found is None:
        reason = f"{name} is not installed (Debian: apt-get install {_PACKAGES[name]})"
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)
    return found


def run(name: str, *arguments: str | Path) -> str:
    """What the program says. AssertionError with all of it when it is not content."""
    done = subprocess.run([program(name), *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def read(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def write(path: Path, content: Any) -> None:
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(content, file)


def rule_files() -> list[Path]:
    return sorted((PROMETHEUS / "rules").glob("*.yml"))


@cache
def rules() -> list[dict[str, Any]]:
    """All rules, recorded ones and alerts."""
    return [rule for path in rule_files() for group in read(path)["groups"] for rule in group["rules"]]


def cases() -> list[Path]:
    return sorted((PROMETHEUS / "tests").glob("*.yml"))


def alert_tests() -> Iterator[tuple[Path, dict[str, Any], dict[str, Any]]]:
    """Each (file, case, test of an alert in it), as promtool reads them."""
    for path in cases():
        for case in read(path)["tests"]:
            for test in case.get("alert_rule_test", []):
                yield path, case, test


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}
