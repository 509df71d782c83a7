"""`manage.py doctor` where settings, files and ports are wrong, and nothing runs."""

import hashlib
import os
import re
import socket
from pathlib import Path

import pytest

from monitoring.redaction import Redactor
from operations import doctor as command
from operations.doctor_checks import examination, of_disk, of_install
from operations.doctor_checks.finding import Check, Finding, Level, failure
from tests.conftest import free_port
from tests.gateway.conftest import StartGateway

from .conftest import ROOT
from .doctor_runs import Doctor

ENTRY = f"alice:{hashlib.sha256(b'key').hexdigest()}"


def test_nothing_set_and_nothing_running_is_well_but_simulated(doctor: Doctor) -> None:
    told = doctor()
    assert ("active-model", "warning") in told.amiss()
    assert told.code == 0
    assert "DEEPSEEK_API_KEY" in told.one("active-model", "warning")["remedy"]
    assert "private" in told.one("redis", "ok")["says"]
    assert "off" in told.one("langfuse", "ok")["says"]
    assert "nothing runs" in told.one("processes", "ok")["says"]
    assert "free" in told.one("ports", "ok")["says"]
    of_redis = [check for check in Check if check.startswith("redis-")]
    of_the_store = [Check.CLOCK, Check.KEY_PREFIX, Check.AUDIT, Check.QUEUE, Check.WORKERS, Check.AGENTS]
    unknown = {*of_redis, *of_the_store}
    reported = {finding["check"] for finding in told.findings}
    assert reported == {check for check in Check if not check.startswith("remote-")} - unknown


def test_a_simulator_that_was_chosen_is_no_accident(doctor: Doctor) -> None:
    told = doctor(ACTIVE_MODEL_KEY="Simulator")
    assert "chosen" in told.one("active-model", "ok")["says"]


def test_strict_makes_warnings_count(doctor: Doctor) -> None:
    assert doctor("--strict").code == 1


def test_one_bad_setting_is_told_and_hides_nothing_else(doctor: Doctor) -> None:
    told = doctor(WORKER_PROCESSES="many", AGENT_TIMEOUT_SECONDS="-1", MODELS_FILE="/dev/null/models.toml")
    assert told.code == 1
    found = told.one("settings", "failure")
    assert "WORKER_PROCESSES=many" in found["says"]
    assert "ATTEMPT_TIMEOUT_SECONDS=-1" in found["says"]
    assert ".env" in found["remedy"]
    assert told.one("models-file", "failure")["says"].startswith("MODELS_FILE /dev/null/models.toml cannot be read")
    assert told.of("disk")


def test_a_dotenv_that_is_no_text_is_told(doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from core_config import Settings  # noqa: PLC0415  as the test changes it

    (tmp_path / ".env").write_bytes(b"KEY_PREFIX=\xff\xfe\n")
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    monkeypatch.setattr("operations.configuration.var_dir", lambda: tmp_path / "var")
    told = doctor()
    assert "not UTF-8" in told.one("settings", "failure")["says"]
    assert told.of("disk")


def test_names_that_do_nothing_are_told(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WORKER_CONCURENCY=5\nLOG_LEVEL=DEBUG\nDEEPSEEK_API_KEY=sk-of-the-file\n")
    told = doctor(LOG_LEVEL="INFO", DEEPSEEK_API_KEY="sk-of-the-shell")
    assert told.code == 0
    assert "Did you mean WORKER_CONCURRENCY?" in told.one("misspelt", "warning")["remedy"]
    shadowed = told.one("shadowed", "warning")
    assert "DEEPSEEK_API_KEY, LOG_LEVEL" in shadowed["says"]
    assert "unset DEEPSEEK_API_KEY LOG_LEVEL" in shadowed["remedy"]
    assert "sk-of" not in told.text


def test_what_is_the_same_twice_contradicts_nothing(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LOG_LEVEL=DEBUG\nWORKER_PROCESSES=\n")
    assert doctor(LOG_LEVEL="DEBUG", WORKER_PROCESSES="2").one("shadowed", "ok")


def test_a_placeholder_is_no_key(doctor: Doctor) -> None:
    told = doctor(DASHSCOPE_API_KEY="sk-xxxx", OPENAI_API_KEY="sk-real-enough-1")
    found = told.one("provider-keys", "warning")
    assert "DASHSCOPE_API_KEY holds a placeholder" in found["says"]
    assert "alibabacloud" in found["remedy"]
    assert "OPENAI_API_KEY" in told.one("provider-keys", "ok")["says"]
    assert told.one("active-model", "ok")["says"] == "GPT"
    assert "sk-real-enough-1" not in told.text
    chosen = doctor(DASHSCOPE_API_KEY="sk-xxxx", ACTIVE_MODEL_KEY="Qwen-Max")
    assert chosen.code == 1
    assert "Set DASHSCOPE_API_KEY" in chosen.one("active-model", "failure")["remedy"]


@pytest.mark.parametrize(
    ("name", "content", "says", "remedy"),
    [
        (
            "MODELS_FILE",
            '[Mine]\nlitellm_id = "openai/m"\nbase_ulr = "http://h"\n',
            "line 3, model 'Mine', base_ulr",
            ".",
        ),
        ("AGENTS_FILE", '[agents.mine]\npromt = "Be brief."\n', "line 2, agent 'mine', promt", "."),
    ],
    ids=["models", "agents"],
)
def test_a_mistake_in_a_file_is_told_with_its_line(
    name: str, content: str, says: str, remedy: str, doctor: Doctor, tmp_path: Path
) -> None:
    (tmp_path / "file.toml").write_text(content)
    told = doctor(**{name: str(tmp_path / "file.toml")})
    found = told.one(name.lower().replace("_", "-"), "failure")
    assert says in found["says"]
    assert remedy in found["remedy"]
    assert told.code == 1


@pytest.mark.parametrize(
    ("environment", "check", "says", "remedy"),
    [
        ({"GATEWAY_HOST": "0.0.0.0"}, "callers", "open to others", "keys new NAME"),
        ({"API_KEYS": "alice:my-own-password"}, "callers", "entry 1", "keys new NAME"),
        ({"API_KEYS": ENTRY}, "active-model", "No model has a key", "ACTIVE_MODEL_KEY=Simulator"),
        ({"CORS_ORIGINS": "http://localhost:8080/"}, "cors", "CORS_ORIGINS", "Write for example"),
        ({"DATABASE_URL": "mysql://user:pw-of-mysql@h/d"}, "database", "DATABASE_URL is no address", "sqlite:///"),
        ({"VAR_DIR": "/dev/null/longhaul"}, "disk", "cannot be written to", "set VAR_DIR"),
    ],
)
def test_what_start_would_refuse_is_a_failure(
    environment: dict[str, str], check: str, says: str, remedy: str, doctor: Doctor
) -> None:
    told = doctor(**environment)
    found = told.one(check, "failure")
    assert says in found["says"]
    assert remedy in found["remedy"]
    assert told.code == 1
    assert not re.search("my-own-password|pw-of-mysql", told.text)


def test_callers_are_counted(doctor: Doctor) -> None:
    more = f"{ENTRY},alice:{'1' * 64},carol:{'2' * 64}:admin"
    told = doctor(API_KEYS=more, ACTIVE_MODEL_KEY="Simulator", GATEWAY_HOST="127.0.0.1")
    assert told.one("callers", "ok")["says"] == "3 keys of 2 callers, 1 of an admin"


def test_a_port_that_another_program_holds_is_told_with_its_name(doctor: Doctor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_server(("127.0.0.1", 0)) as other:
        port, second = listener.getsockname()[1], other.getsockname()[1]
        told = doctor(GATEWAY_PORT=str(port), SIMULATOR_PORT=str(second), WORKER_METRICS_PORT=str(second))
    assert told.code == 1
    first, simulator, metrics = told.of("ports")
    assert f"port {port}" in first["says"]
    assert f"SIMULATOR_PORT {second}" in simulator["says"]
    assert f"WORKER_METRICS_PORT {second}" in metrics["says"]
    for found in (first, simulator, metrics):
        assert found["level"] == "failure"
        assert f"pid {os.getpid()}" in found["says"]
        assert "PORT" in found["remedy"]


def test_a_gateway_that_was_started_by_hand_is_ours(doctor: Doctor, start_gateway: StartGateway) -> None:
    told = doctor(GATEWAY_PORT=str(start_gateway().port))
    assert "started by hand" in told.one("ports", "ok")["says"]


def test_little_room_is_told_before_there_is_none() -> None:
    def level(free: int, files: int | None = None, total: int = 100_000_000_000) -> Level:
        return of_disk.room(Path("var"), free, total, files).level

    assert level(5_000_000_000) is Level.OK
    assert level(900_000_000) is Level.WARNING
    assert level(100_000_000) is Level.FAILURE
    assert level(5_000_000_000, 10_000) is Level.OK
    assert level(5_000_000_000, 3) is Level.FAILURE
    small = 64_000_000
    assert level(60_000_000, total=small) is Level.OK, "a container's /tmp"
    assert level(5_000_000, total=small) is Level.WARNING
    assert level(1_000_000, total=small) is Level.FAILURE


LOCK = """\
pytest==0.0.1 \\
    --hash=sha256:00
no-such-package-at-all==1.0 ; sys_platform == 'win32' \\
    --hash=sha256:00
neither-this-one==1.0 \\
    --hash=sha256:00
"""


def test_packages_are_held_to_the_lock(tmp_path: Path) -> None:
    here = of_install.packages(ROOT / "requirements-dev.lock", "install", all_wanted=True)
    assert here.level is Level.OK, "the tests run on what the lock pins"
    lock = tmp_path / "some.lock"
    lock.write_text(LOCK)
    image = of_install.packages(lock, "install", all_wanted=False)
    assert image.level is Level.WARNING
    assert image.says.startswith("1 of 2 are not as in some.lock: pytest ")
    own = of_install.packages(lock, "install", all_wanted=True)
    assert own.says.endswith("neither-this-one is missing")
    assert own.remedy == "install"


def test_neither_what_is_wrong_nor_its_remedy_is_shown_with_a_secret_or_a_line_too_many() -> None:
    found = failure(Check.REDIS, "hunter22 is refused\nok  redis", "use hunter22\nagain")
    told = examination.shown(found, Redactor(["hunter22"]))
    assert "hunter22" not in command.line(told)
    assert told.says.count("\n") + told.remedy.count("\n") == 0


def test_for_people_it_is_a_line_a_finding_and_the_remedy_below_it() -> None:
    told = [
        command.line(failure(Check.REDIS, "it is away", "start it", 12.3)),
        command.line(Finding(Check.PYTHON, Level.OK, "3.13")),
    ]
    assert told == [
        f"failure  redis              it is away (12 ms)\n{' ' * 28}start it",
        "ok       python             3.13",
    ]


def test_it_prints_lines_and_counts_unless_json_is_asked_for(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from operations import commandline  # noqa: PLC0415  beside `doctor`, which asks for JSON

    monkeypatch.setenv("VAR_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("GATEWAY_HOST", "0.0.0.0")
    monkeypatch.setenv("GATEWAY_PORT", str(free_port()))
    assert commandline.run("doctor", []) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("failure  callers ") for line in lines)
    assert any(line.startswith("ok       redis ") for line in lines)
    assert re.fullmatch(r"2 failures(, \d+ warnings?)?, \d+ ok\. docs/doctor\.md explains each line\.", lines[-1])


def test_wrong_usage_is_exit_2(doctor: Doctor, capsys: pytest.CaptureFixture[str]) -> None:
    from operations import commandline  # noqa: PLC0415  as above

    assert commandline.run("doctor", ["--key", "ak_of_nobody"]) == 2
    assert "--url" in capsys.readouterr().err
    for arguments in (["--url"], ["--wait", "0"], ["extra"]):
        with pytest.raises(SystemExit) as caught:
            doctor(*arguments)
        assert caught.value.code == 2


def test_the_page_has_every_check_in_its_order_and_no_other() -> None:
    page = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
    section = page[page.index("## Every check") : page.index("## From outside")]
    rows = re.findall(r"^\| `([a-z-]+)` \| .+ \| .+ \|$", section, re.MULTILINE)
    assert rows == [check.value for check in Check]


def test_troubleshooting_begins_with_it() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    assert "manage.py doctor" in page[: page.index("## ")]


def test_findings_come_in_the_order_of_the_page(doctor: Doctor) -> None:
    checks = [finding["check"] for finding in doctor().findings]
    assert checks == sorted(checks, key=list(Check).index)
