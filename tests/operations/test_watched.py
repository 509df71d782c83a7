"""Which files count as the agents' code."""

import os
from pathlib import Path

import pytest

from core_config import Settings
from operations import watched
from operations.watched import AgentCode

from .conftest import ROOT


@pytest.fixture
def team(tmp_path: Path) -> Path:
    """A folder with an agents file, its modules, prompts, and what is none of the agents' code."""
    folder = tmp_path / "team"
    for name, text in {
        "agents.toml": '[agents.a]\nrun = "mine.agents:answer"\nprompt_file = "../prompts/a.txt"\n'
        '[agents.b]\ntools = ["elsewhere:tool", "json:dumps", "pydantic:tool", "absent:tool"]\n',
        "mine/agents.py": "",
        "mine/deep/more.py": "",
        "notes.txt": "",
        "mine/answer.md": "",
        "mine/__pycache__/x.py": "",
        ".venv/lib/x.py": "",
        "node_modules/x.py": "",
        "var/logs/x.py": "",
        "../prompts/a.txt": "Answer.",
        "../prompts/other.txt": "",
        "../lib/elsewhere.py": "",
        "../lib/other.py": "",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def of(settings: Settings, code: AgentCode | None = None) -> set[str]:
    """The files outside the project, relative to the folder around the team's."""
    assert settings.agents_file is not None
    around = settings.agents_file.parent.parent
    found = (code or AgentCode()).look(settings).files
    return {str(path.relative_to(around)) for path in found if not path.is_relative_to(ROOT)}


def settings_of(team: Path) -> Settings:
    return Settings(agents_file=team / "agents.toml", var_dir=team / "var")


def test_the_files_that_the_agents_are_made_of(team: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(team.parent / "lib"))
    expected = {"team/agents.toml", "team/mine/agents.py", "team/mine/deep/more.py", "prompts/a.txt"}
    expected |= {"lib/elsewhere.py", "lib/other.py"}  # beside a module that is used
    assert of(settings_of(team)) == expected
    files = AgentCode().look(settings_of(team)).files
    assert ROOT / "agent" / "build.py" in files
    assert ROOT / "agent" / "prompts" / "default.md" in files
    assert ROOT / "core_config.py" not in files


def test_a_change_is_a_file_that_is_new_gone_or_other(team: Path) -> None:
    settings, code = settings_of(team), AgentCode()
    before = code.look(settings)
    assert code.look(settings).changed(before) == []
    (team / "notes.txt").write_text("more")
    assert code.look(settings).changed(before) == []
    (team / "mine" / "agents.py").write_text("x = 1")
    (team / "mine" / "deep" / "more.py").unlink()
    (team / "new.py").write_text("")
    os.utime(team.parent / "prompts" / "a.txt", ns=(1, 1))
    after = code.look(settings)
    names = [path.name for path in after.changed(before)]
    assert sorted(names) == ["a.txt", "agents.py", "more.py", "new.py"]
    assert after.changed(after) == []


def test_while_the_file_is_broken_what_it_said_last_counts(team: Path) -> None:
    settings, code = settings_of(team), AgentCode()
    before = of(settings, code)
    assert "prompts/a.txt" in before
    (team / "agents.toml").write_text("[agents.a\n")
    assert of(settings, code) == before
    (team / "agents.toml").unlink()
    assert of(settings, code) == before - {"team/agents.toml"}
    assert team in code.look(settings).folders


def test_a_huge_tree_is_watched_in_part_and_the_project_first(team: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = len(AgentCode().look(Settings()).folders)
    monkeypatch.setattr(watched, "MOST_FOLDERS", own + 5)
    for number in range(50):
        (team / f"f{number}").mkdir()
    look = AgentCode().look(settings_of(team))
    assert ROOT / "agent" in look.folders
    assert len(look.folders) <= own + 7  # and the folder of a prompt


def test_of_the_project_itself_only_what_lies_in_it(monkeypatch: pytest.MonkeyPatch, team: Path) -> None:
    """An agents file beside manage.py: gateway/, tests/ and VAR_DIR are none of the agents' code."""
    monkeypatch.setattr(watched, "ROOT", team)
    files = AgentCode().look(settings_of(team)).files
    assert {team / "agents.toml", team / "mine" / "agents.py"} <= files.keys()  # a module that is named is
    assert team / "var" / "logs" / "x.py" not in files
    (team / "agents.toml").write_text("")
    look = AgentCode().look(settings_of(team))
    assert not any(team / "mine" in path.parents for path in look.files)
