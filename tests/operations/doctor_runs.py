"""`manage.py doctor` in this process, on a machine where nothing of Longhaul's is set; and what it found."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import core_config
from operations import commandline, configuration
from operations.doctor_checks import examination, of_settings
from operations.doctor_checks.finding import Check
from tests.conftest import free_port

LOCAL = [check.value for check in Check if not check.startswith("remote-")]


@dataclass(frozen=True)
class Told:
    code: int
    findings: list[dict[str, Any]]
    text: str
    """All of it, as it was printed."""

    def of(self, check: str) -> list[dict[str, Any]]:
        return [finding for finding in self.findings if finding["check"] == check]

    def amiss(self) -> list[tuple[str, str]]:
        return [(finding["check"], finding["level"]) for finding in self.findings if finding["level"] != "ok"]

    def one(self, check: str, level: str) -> dict[str, Any]:
        """The only finding of this check that is so."""
        (found,) = [finding for finding in self.of(check) if finding["level"] == level]
        return found


Doctor = Callable[..., Told]


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Runs it with `--json` and this environment; `.env` is `tmp_path / ".env"`, VAR_DIR is `tmp_path / "var"`."""
    for module in (core_config, of_settings):
        monkeypatch.setattr(module, "ENV_FILE", tmp_path / ".env")
    monkeypatch.setattr(configuration, "ROOT", tmp_path)
    monkeypatch.setattr(examination, "WITHIN_SECONDS", 120.0)  # this machine may be busy
    for model in core_config.MODEL_REGISTRY.values():
        monkeypatch.delenv(model.api_key_env or "NONE", raising=False)
    for name in ("LONGHAUL_API_KEY", "LONGHAUL_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, **environment: str) -> Told:
        with monkeypatch.context() as patch:
            defaults = {"VAR_DIR": str(tmp_path / "var"), "GATEWAY_PORT": str(free_port())}
            for name, value in {**defaults, **environment}.items():
                patch.setenv(name, value)
            code = commandline.run("doctor", ["--json", *arguments])
        said = capsys.readouterr()
        report = json.loads(said.out)
        assert report["failed"] == (code != 0)
        for finding in report["findings"]:
            assert (finding["level"] == "ok") == (finding["remedy"] is None), (
                "who is told of a fault is told what to do"
            )
        return Told(code, report["findings"], said.out + said.err)

    return run
