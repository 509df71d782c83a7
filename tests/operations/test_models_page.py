"""docs/models.md: its commands run, its files are read, its tables are the code's. And `compare`, on a real system."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import core_config
from core_config import MODEL_REGISTRY, ROOT, ModelConfig, Settings, load_registry
from operations import commandline, compare
from operations.diagnosis import Fault
from operations.providers import PROVIDERS
from tests.conftest import free_port

from .conftest import Copy, until

PAGE = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line) for line in re.findall(r"^    python3 manage\.py (.+)$", PAGE, re.MULTILINE)]
CLOSED = 9
"""A port that nobody listens at."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def table(heading: str) -> list[list[str]]:
    """The cells of the table whose first heading this is."""
    rows = PAGE[PAGE.index(f"| {heading} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """The page's own files as its MODELS_FILE. Second is another simulated model, and Keyless one without its key."""
    made = Copy(tmp_path_factory.mktemp("models") / "longhaul")
    for name in ("agent", "gateway", "loadtest", "monitoring", "worker"):
        made.add(name)
    port = free_port()
    second = f'litellm_id = "openai/simulator"\nbase_url = "http://127.0.0.1:{port}/v1"\n'
    (made.folder / "models.toml").write_text(
        "\n".join(blocks("toml")) + f'\n[Second]\n{second}simulated = true\n[Keyless]\n{second}api_key_env = "NO_KEY"\n'
        f'[Local]\nbase_url = "http://127.0.0.1:{CLOSED}/v1"\n'
    )
    made.environment |= {"SIMULATOR_PORT": str(port), "MODELS_FILE": "models.toml", "COLUMNS": "80"}
    made.start()
    yield made
    made.end()


def test_every_file_of_the_page_is_a_registry(tmp_path: Path) -> None:
    assert len(blocks("toml")) == 2
    path = tmp_path / "models.toml"
    for text in blocks("toml"):
        path.write_text(text)
        registry = load_registry(Settings(_env_file=None, models_file=path))
        assert registry.keys() == MODEL_REGISTRY.keys() | tomllib.loads(text).keys()


def test_its_tables_are_the_codes() -> None:
    assert [row[:2] for row in table("name")] == [[f"`{n}`", f"`{m.litellm_id}`"] for n, m in MODEL_REGISTRY.items()]
    assert [row[2].strip("`") for row in table("name")] == [m.api_key_env or "none" for m in MODEL_REGISTRY.values()]
    named = [name for row in table("field") for name in re.findall(r"`(\w+)`", row[0])]
    assert named == list(ModelConfig.model_fields)
    assert [row[0].strip("`") for row in table("`fault` in `--json`")] == [fault.value for fault in Fault]
    assert {row[1].strip("`"): row[0] for row in table("region")} == PROVIDERS["dashscope"].sites
    assert f"({ModelConfig(litellm_id='openai/x').max_tokens_limit})" in PAGE


def test_every_setting_and_command_that_it_names_is_there() -> None:
    for name in ("ACTIVE_MODEL_KEY", "MODELS_FILE", "MAX_TOKENS_PER_REQUEST", "API_KEYS"):
        assert name in PAGE
        assert name.lower() in Settings.model_fields
    assert [command[:2] for command in COMMANDS] == [
        ["models"], ["models", "test"], ["models", "test"], ["compare", "What is 17 * 23?"],
    ]  # fmt: skip


Here = Callable[..., tuple[int, str]]


@pytest.fixture
def here(real: Copy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Here:
    """Runs a command in this process, which has LiteLLM loaded: a process of its own takes seconds for that."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(core_config, "ENV_FILE", tmp_path / ".env")
    monkeypatch.setenv("VAR_DIR", str(real.var))
    monkeypatch.setenv("MODELS_FILE", str(real.folder / "models.toml"))

    def run(*command: str) -> tuple[int, str]:
        code = commandline.run(command[0], command[1:])
        return code, capsys.readouterr().out

    return run


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_of_the_page_runs(real: Copy, here: Here, command: list[str]) -> None:
    if command[0] == "compare":
        done = real.manage(*command)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("391") == 2
        return
    code, shown = here(*command)
    assert code == (1 if "Local" in command else 0), shown
    match command:
        case ["models"]:
            assert "* Simulator" in shown
        case ["models", "test"]:
            assert "Simulator works (SIMULATED)" in " ".join(shown.split()), "the active one"
            assert "1 of 1 work." in shown
        case _:
            assert [changeable(shown)] == list(map(changeable, blocks("text")))


def changeable(text: str) -> str:
    """Without what differs from run to run: times and the width that they take, the port that was closed."""
    return re.sub(r" +", " ", re.sub(r"\d+ ms", "N ms", text)).replace(f":{CLOSED}.", ":11434.")


def test_the_replay_of_the_page_runs(real: Copy) -> None:
    (line,) = re.findall(r"^    curl (.+)$", PAGE, re.MULTILINE)
    with httpx.Client(base_url=real.url, trust_env=False, timeout=30) as client:
        task_id = client.post("/task", json={"message": "What is 6 * 7?", "model": "Keyless"}).json()["task_id"]
        assert client.get(f"/task/{task_id}?wait=30").json()["error_code"] == "provider_auth"
        method, url, header, body = [part for part in shlex.split(line) if part not in {"-X", "-H", "-d"}]
        path = url.removeprefix("http://127.0.0.1:8000").replace("TASK_ID", task_id)
        name, value = header.split(": ")
        answer = client.request(method, path, headers={name: value}, content=body)
        assert answer.json() == json.loads(blocks("json")[0].replace("TASK_ID", task_id))
        task = client.get(f"/task/{task_id}?wait=30").json()
        assert (task["status"], task["model"], task["simulated"]) == ("success", "Second", True)
        assert "42" in task["result"]
    assert "replayed by an operator on Second" in real.manage("why", task_id).stdout


def test_models_test_as_json(here: Here) -> None:
    code, shown = here("models", "test", "Second", "Keyless", "--json")
    assert code == 1
    report = json.loads(shown)
    second, keyless = report["models"]
    assert (report["all_work"], second["model"], second["works"], second["fault"]) == (False, "Second", True, None)
    assert second["latency_ms"] >= 0
    assert second["token_usage"]["total_tokens"] > 0
    assert (keyless["works"], keyless["fault"], keyless["http_status"]) == (False, "key_missing", None)
    assert keyless["token_usage"] is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["models", "test", "Nobody"], "there is no model 'Nobody' in the registry. Known: DeepSeek-V3"),
        (["models", "test", "--timeout", "nan"], "'nan' is no number of seconds"),
        (["models", "tset"], "invalid choice: 'tset'"),
        (["compare", "x", "--models", " , "], "--models names none"),
    ],
)
def test_what_cannot_be_done_is_said(real: Copy, arguments: list[str], says: str) -> None:
    done = real.manage(*arguments)
    assert done.returncode in {1, 2}
    assert says in done.stderr
    assert done.stdout == ""


def test_compare_shows_side_by_side_in_eighty_columns(real: Copy) -> None:
    done = real.manage("compare", "What is 17 * 23?", "--models", "Second,Simulator")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    heading = next(line for line in lines if "Second" in line)
    assert heading.index("Second (SIMULATED)") < heading.index("Simulator (SIMULATED)")
    answers = next(line for line in lines if "answer" in line)
    assert answers.count("[simulated]") == 2
    assert done.stdout.count("391") == 2
    assert next(line for line in lines if " tokens " in line).count(" in, ") == 2


def test_compare_shows_a_failure_in_place_of_the_answer(real: Copy) -> None:
    done = real.manage("compare", "What is 17 * 23?", "--models", "Keyless,Simulator", "--json")
    assert done.returncode == 1
    keyless, simulator = json.loads(done.stdout)
    assert (keyless["model"], keyless["status"], keyless["error_code"]) == ("Keyless", "failed", "provider_auth")
    assert (simulator["status"], simulator["simulated"], simulator["error"]) == ("success", True, None)
    assert "391" in simulator["answer"]
    people = real.manage("compare", "What is 17 * 23?", "--models", "Keyless,Simulator")
    assert "FAILED (provider_auth)" in people.stdout
    assert "391" in people.stdout


def tasks(real: Copy) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{real.url}/tasks", trust_env=False).json()["tasks"]
    return found


def test_an_unknown_model_is_refused_before_another_has_cost_anything(real: Copy) -> None:
    before = tasks(real)
    done = real.manage("compare", "x", "--models", "Simulator,Simulater")
    assert done.returncode == 1
    assert "422" in done.stderr
    assert "did you mean 'Simulator'?" in done.stderr
    assert tasks(real) == before


def test_ctrl_c_cancels_what_is_not_done(real: Copy) -> None:
    command = [sys.executable, str(real.folder / "manage.py"), "compare", "[[delay=600]] hello"]
    with subprocess.Popen(
        [*command, "--models", "Simulator,Second"], env=real.environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        ids = [process.stderr.readline().split()[1] for _ in range(2)]
        started = time.monotonic()
        until(lambda: all(client_view(real, one)["status"] == "running" for one in ids), "both run")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert time.monotonic() - started < 60, "it did not wait for their ends"
    until(lambda: all(client_view(real, one)["status"] == "cancelled" for one in ids), "both are cancelled")


def client_view(real: Copy, task_id: str) -> dict[str, Any]:
    view: dict[str, Any] = httpx.get(f"{real.url}/task/{task_id}", trust_env=False).json()
    return view


def entrant(model: str, **task: Any) -> compare.Entrant:
    return compare.Entrant(model, "t", {"status": "success", "result": "yes", "duration_ms": 1234} | task)


def test_many_models_stand_below_each_other_and_nothing_of_a_terminal_gets_through(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    long = "word " * 60 + "x" * 100 + "\nsecond line\x1b[2J\x07"
    compare.show([entrant(name, result=long) for name in "ABCD"])
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert shown.count("second line") == 4
    assert shown.count("answer") == 4
    assert sum(line.count("x") for line in shown.splitlines()) == 400, "nothing is cut"


def test_compare_says_what_is_unknown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    compare.show([entrant("A", cost_usd=None, token_usage=None, attempt=2)])
    shown = capsys.readouterr().out
    assert shown.count("unknown") == 2
    assert "1.23 s, attempt 2" in shown
