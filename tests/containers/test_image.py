"""What the Dockerfile says, and that what it copies is all that runs and nothing else."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from core_config import ROOT, VERSION
from tests.test_house import OURS

from . import image_tree

OF_THE_BENCHMARK = {"BENCH_REDIS": "redis://127.0.0.1:1", "BENCH_CONCURRENCY": "1", "BENCH_MARKS": "marks"}
"""Its programs read these before anything else, as do the applications of the peers' frameworks."""
BUILD, SHIPPED = image_tree.instructions()


def said(word: str) -> list[str]:
    return [one.rest for one in SHIPPED if one.word == word]


def test_it_runs_as_a_user_without_a_name_and_without_rights() -> None:
    (user,) = said("USER")
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user), "a number: Kubernetes refuses a name under runAsNonRoot"
    words = [one.word for one in SHIPPED]
    assert "RUN" not in words, "nothing is installed into what is shipped"
    assert words.index("USER") > max(index for index, word in enumerate(words) if word == "COPY")


def test_signals_reach_the_process_itself() -> None:
    (command,) = said("CMD")
    assert json.loads(command) == ["python", "-m", "gateway"]
    assert not said("ENTRYPOINT")
    assert [json.loads(part) for part in re.findall(r"CMD (\[.*\])", said("HEALTHCHECK")[0])]


def test_both_stages_are_one_exact_python() -> None:
    first, second = (stage[0].rest.removesuffix(" AS build") for stage in image_tree.instructions())
    assert first == second
    version = re.fullmatch(r"python:(\d+\.\d+)\.\d+-slim-\w+", first)
    assert version
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert asked == f">={version[1]}", "the Python that the tests run on"


def test_its_label_has_the_version() -> None:
    assert f'org.opencontainers.image.version="{VERSION}"' in said("LABEL")[0]


def test_packages_are_the_lock_s_with_their_hashes_and_no_tools() -> None:
    run = [part.split() for one in BUILD if one.word == "RUN" for part in one.rest.split("&&")]
    (uv,) = [part for part in run if part[0] == "/uv/bin/pip"]
    assert {"--require-hashes", "--no-deps", "installer.lock"} <= set(uv)
    _, synced = (part for part in run if "/venv" in part)
    assert {"sync", "--require-hashes", "--no-build", "--compile-bytecode"} <= set(synced)
    assert synced[-1] == "requirements.lock", "without the tools of requirements-dev.lock"


def test_the_image_holds_the_programs_and_nothing_else() -> None:
    inside = {name for _, name in image_tree.copied()}
    top = {name.split("/")[0] for name in inside}
    files = {"agents_config.py", "core_config.py", "healthcheck.py", "LICENSE", "manage.py", "schema_rules.py"}
    files |= {"pyproject.toml", "requirements.lock"}
    assert top == files | (OURS - {"longhaul_testing"})
    left_out = ("monitoring/alertmanager/", "monitoring/grafana/", "monitoring/prometheus/")
    peers = re.compile(r"loadtest/bench/peers/(\w+_queue|\w+_lists|agent_(agno|openai_agents|pydantic_ai))\.py")
    for part in top - files:
        for file in (ROOT / part).rglob("*"):
            path = file.relative_to(ROOT).as_posix()
            if file.is_file() and file.suffix != ".pyc":
                assert (path in inside) != bool(path.startswith(left_out) or peers.fullmatch(path)), path


@pytest.mark.parametrize(
    "path",
    [".env", ".env.example", ".git/config", "var/redis/appendonly.aof", "tests/conftest.py", "deploy/keys/callers",
     "deploy/worker.env", "deploy/config/agents.toml", ".venv/bin/python", "gateway/__pycache__/app.cpython-311.pyc"],
)  # fmt: skip
def test_nothing_of_the_operator_s_gets_into_a_build(path: str) -> None:
    assert image_tree.ignored(path)


def test_a_file_of_the_programs_gets_into_it() -> None:
    assert not image_tree.ignored("gateway/routes/health.py")
    assert not image_tree.ignored("deploy/healthcheck.py")


def test_a_module_of_the_image_imports_nothing_that_is_not_in_it(tmp_path: Path) -> None:
    """Each one is imported, with the image's tree in the place of the project."""
    tree = tmp_path / "app"
    image_tree.make(tree)
    modules = sorted(
        name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        for _, name in image_tree.copied()
        if name.endswith(".py")
        and not name.endswith("__main__.py")
        and not name.startswith(("longhaul_client", "manage"))
    )
    modules.sort(key=lambda name: name != "loadtest.locustfile")  # gevent has to come before what it patches
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in ('tests', 'longhaul_testing', 'examples')]\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *modules],
        cwd=tree, env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1", **OF_THE_BENCHMARK},
        capture_output=True, text=True,
    )  # fmt: skip
    image_tree.release(tree)
    assert done.returncode == 0, done.stderr
