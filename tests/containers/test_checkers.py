"""What the checkers of others say of our files. None of them needs a network or an engine."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core_config import ROOT

from .compose_files import files
from .running import found


def checker(name: str) -> str:
    """A program of requirements-dev.lock's: beside the Python that runs this."""
    path = shutil.which(name, path=str(Path(sys.executable).parent))
    assert path, f"{name} is in requirements-dev.lock"
    return path


def said(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_a_compose_file_keeps_the_specification(path: Path) -> None:
    done = said(checker("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(path))
    assert done.returncode == 0, done.stdout


def test_the_schema_would_see_a_mistake(tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text((ROOT / "docker-compose.yml").read_text().replace("pids_limit: 64", "pids_limit: {much: 64}"))
    done = said(checker("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(wrong))
    assert done.returncode == 1
    assert "pids_limit" in done.stdout


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    done = said(checker("hadolint"), "Dockerfile")
    assert done.returncode == 0, done.stdout


def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    """With the folders of a read-only container's /tmp in a place of the test's own."""
    conf = tmp_path / "nginx.conf"
    conf.write_text((ROOT / "deploy" / "nginx.conf").read_text().replace(" /tmp/", f" {tmp_path}/"))
    done = said(found("nginx", "Debian: apt-get install nginx-light"), "-t", "-e", "stderr", "-c", str(conf))
    assert done.returncode == 0, done.stderr


def test_nginx_does_with_a_call_what_the_tested_example_does() -> None:
    """tests/gateway/test_events_behind_nginx.py shows that on examples/nginx.conf."""

    def directives(path: Path) -> set[str]:
        location = path.read_text(encoding="utf-8").partition("location / {")[2].partition("}")[0]
        lines = (line.partition("#")[0].strip() for line in location.splitlines())
        return {line for line in lines if line}

    ours, example = directives(ROOT / "deploy" / "nginx.conf"), directives(ROOT / "examples" / "nginx.conf")
    assert example - ours == {"proxy_pass http://longhaul;"}
    assert ours - example == {"proxy_pass http://$gateway;", "set $gateway gateway:8000;"}
    assert "client_max_body_size 256k;" in (ROOT / "deploy" / "nginx.conf").read_text()
