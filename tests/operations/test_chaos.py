"""`manage.py chaos`, up to where it starts the kit: what it refuses, what it hands on, and that Ctrl-C reaches it."""

import subprocess
import sys
from pathlib import Path

import pytest

from core_config import ROOT
from operations import chaos, commandline


@pytest.fixture
def handed_on(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """In place of the kit: what it would have been started with."""
    seen: dict[str, object] = {}

    def start(command: list[str], environment: dict[str, str]) -> int:
        seen.update(command=command[3:], environment=environment)
        return 3

    monkeypatch.setattr(chaos, "_in_a_session_of_its_own", start)
    return seen


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tasks", "0"], "expected an integer of 1 or more, got 0"),
        (["--every", "inf"], "expected a number above 0, got inf"),
        (["--model", "GPT"], "runs on the Simulator only, not on 'GPT'"),
        (["--agent", "plane"], "there is no agent 'plane'. did you mean 'plain'?"),
        (["--message", "hello"], "--message is for an agent of yours"),
    ],
)
def test_what_cannot_work_is_refused(
    words: list[str], said: str, handed_on: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = commandline.run("chaos", words)
    except SystemExit as usage:
        code = usage.code if isinstance(usage.code, int) else 1
    assert code == 2
    assert said in capsys.readouterr().err
    assert handed_on == {}


def test_a_copy_without_the_kit_says_so(
    handed_on: dict[str, object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(chaos, "_KIT", tmp_path / "chaos")
    assert commandline.run("chaos", []) == 1
    assert "the kit is not here" in capsys.readouterr().err
    assert handed_on == {}


def test_the_kits_own_agent_and_the_code_of_the_run(
    handed_on: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert commandline.run("chaos", ["--tasks", "7", "--seed", "3"]) == 3
    assert handed_on["command"] == ["--tasks", "7", "--seed", "3", "--every", "3.0", "--agent", "plain"]
    assert "manage.py chaos --tasks 7 --seed 3 --every 3.0 --agent 'plain'" in capsys.readouterr().out


def test_an_agent_of_the_users_own_gets_the_users_settings_but_no_way_out(
    handed_on: dict[str, object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    agents = tmp_path / "agents.toml"
    agents.write_text('[agents.mine]\nprompt = "You help."\n')
    env_file = tmp_path / ".env"
    env_file.write_text("MY_DATABASE=here\nREDIS_URL=redis://production:6379/0\nAPI_KEYS=alice:abc\n")
    monkeypatch.setenv("AGENTS_FILE", str(agents))
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setattr(chaos, "ENV_FILE", env_file)
    assert commandline.run("chaos", ["--agent", "mine", "--message", "Hello"]) == 3
    environment = handed_on["environment"]
    assert isinstance(environment, dict)
    assert (environment["MY_DATABASE"], environment["AGENTS_FILE"]) == ("here", str(agents))
    assert not {"REDIS_URL", "API_KEYS", "LANGFUSE_SECRET_KEY", "OTEL_EXPORTER_OTLP_ENDPOINT"} & environment.keys()


def test_ctrl_c_is_handed_on_and_waited_for(tmp_path: Path) -> None:
    """A kit that takes a moment to clean up gets that moment."""
    kit = tmp_path / "kit.py"
    kit.write_text(
        "import pathlib, time\n"
        "try:\n    pathlib.Path('up').touch(); time.sleep(600)\n"
        "except KeyboardInterrupt:\n    time.sleep(0.5); pathlib.Path('clean').touch()\n"
    )
    command = f"""
import os, sys, time, threading, signal, pathlib
from operations import chaos
chaos.ROOT = {str(tmp_path)!r}
def interrupt():
    while not pathlib.Path({str(tmp_path / "up")!r}).exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    chaos._in_a_session_of_its_own([sys.executable, {str(kit)!r}], dict(os.environ))
except KeyboardInterrupt:
    sys.exit(130)
"""
    ended = subprocess.run([sys.executable, "-c", command], cwd=ROOT, timeout=60)
    assert ended.returncode == 130
    assert (tmp_path / "clean").exists()
