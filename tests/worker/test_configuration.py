"""`python -m worker` with settings that cannot work: a line that says why, and exit code 2, before it loads much."""

import sys
from pathlib import Path

import pytest

from worker.__main__ import EXIT_CONFIGURATION, main


@pytest.mark.parametrize(
    ("agents", "phrases"),
    [
        ("[agents.a]\ntols = []\n", ["line 2, agent 'a', tols: ", "did you mean 'tools'?"]),
        ("[agents.a]\n[agents.a\n", ["is not valid TOML", "line 2"]),
        (None, ["cannot be read", "Correct the path or unset it."]),
    ],
)
def test_a_bad_agents_file_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    agents: str | None,
    phrases: list[str],
):
    file = tmp_path / "agents.toml"
    if agents is not None:
        file.write_text(agents)
    monkeypatch.setenv("AGENTS_FILE", str(file))
    monkeypatch.setattr(sys, "argv", ["worker"])
    assert main() == EXIT_CONFIGURATION
    said = capsys.readouterr().err
    for phrase in ("The configuration does not work: ", f"AGENTS_FILE {file}", *phrases):
        assert phrase in said
    assert "Traceback" not in said
