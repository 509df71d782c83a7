"""deploy/new_env.sh: what it writes opens the door to whom it told the key, and what is there stays."""

import hashlib
import re
import stat
import subprocess
from pathlib import Path

import pytest
from dotenv import dotenv_values

from core_config import MODEL_REGISTRY, ROOT
from gateway.auth import parse_entries

from .compose_files import services, variables_named

SCRIPT = ROOT / "deploy" / "new_env.sh"


def run(*arguments: str) -> str:
    done = subprocess.run(
        ["/bin/sh", str(SCRIPT), *arguments], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def test_the_key_that_it_prints_is_an_admin_s_and_stands_nowhere(file: Path) -> None:
    (key,) = re.findall(r"\bak_\w+", run(str(file)))
    values = dotenv_values(file)
    assert key not in file.read_text()
    keys = parse_entries([values["API_KEYS"] or ""], "API_KEYS")
    assert keys[hashlib.sha256(key.encode()).digest()].admin
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_that_everybody_could_read_is_closed_before_a_secret_is_in_it(file: Path) -> None:
    file.write_text("LOG_LEVEL=DEBUG\n")
    file.chmod(0o644)
    run(str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_two_files_share_no_secret(file: Path, tmp_path: Path) -> None:
    run("langfuse", str(file))
    run("langfuse", str(tmp_path / "other"))
    one, other = dotenv_values(file), dotenv_values(tmp_path / "other")
    same = {name for name in one if one[name] == other[name]}
    assert same == {"ACTIVE_MODEL_KEY", "COMPOSE_PROFILES", "LANGFUSE_HOST", "LANGFUSE_USER_EMAIL"}


def test_run_again_it_changes_nothing(file: Path) -> None:
    run("langfuse", str(file))
    before = file.read_text()
    assert "ak_" not in run("langfuse", str(file))
    assert file.read_text() == before


def test_what_the_operator_set_stays(file: Path) -> None:
    file.write_text(
        "REDIS_PASSWORD=mine\nAPI_KEYS=\nAPI_KEYS_FILE=deploy/keys/callers\nCOMPOSE_PROFILES=app\nLOG_LEVEL=DEBUG"
    )
    assert "ak_" not in run(str(file))
    values = dotenv_values(file)
    assert (values["REDIS_PASSWORD"], values["COMPOSE_PROFILES"], values["LOG_LEVEL"]) == ("mine", "app", "DEBUG")
    assert not values["API_KEYS"]


@pytest.mark.parametrize("name", sorted({one.api_key_env for one in MODEL_REGISTRY.values() if one.api_key_env}))
def test_a_model_s_key_makes_the_simulator_superfluous(file: Path, name: str) -> None:
    file.write_text(f"{name}=sk-a-real-one\n")
    run(str(file))
    values = dotenv_values(file)
    assert "ACTIVE_MODEL_KEY" not in values
    assert values["COMPOSE_PROFILES"] == "app"


def test_an_empty_key_of_the_example_is_none(file: Path) -> None:
    file.write_text((ROOT / ".env.example").read_text(encoding="utf-8"))
    run(str(file))
    assert dotenv_values(file)["ACTIVE_MODEL_KEY"] == "Simulator"


def test_what_it_writes_is_read_by_the_compose_files(file: Path) -> None:
    run("langfuse", str(file))
    values = dotenv_values(file)
    assert set(values) - {"COMPOSE_PROFILES"} <= variables_named()
    profiles = {profile for one in services().values() for profile in one["profiles"]}
    assert set((values["COMPOSE_PROFILES"] or "").split(",")) <= profiles
    for name, value in values.items():
        if name.endswith("PASSWORD"):
            assert re.fullmatch(r"[0-9a-f]{24,}", value or ""), f"{name} stands in addresses, where signs have meanings"
