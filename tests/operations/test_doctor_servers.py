"""`manage.py doctor` and the servers that it asks: Langfuse, Prometheus's targets; and a check that hangs or breaks."""

import contextlib
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core_config import Settings
from operations.doctor_checks import examination, of_targets
from operations.doctor_checks.finding import Check, Finding, Level, ok
from operations.doctor_checks.situation import Situation
from operations.runstate import ProcessRecord, RunState
from tests.conftest import free_port

from .doctor_runs import Doctor

KEYS = {"LANGFUSE_PUBLIC_KEY": "pk-lf-public-1", "LANGFUSE_SECRET_KEY": "sk-lf-secret-1"}


@contextlib.contextmanager
def serving(status: int, body: str) -> Iterator[tuple[str, list[str]]]:
    """A server that answers every GET alike; its address, and what it was asked with."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers.get('authorization', '')}")
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join(10)


def test_langfuse_that_takes_the_keys(doctor: Doctor) -> None:
    with serving(200, json.dumps({"data": [{"name": "my-project"}]})) as (url, asked):
        told = doctor(LANGFUSE_BASE_URL=f"{url}/", **KEYS)
    assert "my-project" in told.one("langfuse", "ok")["says"]
    (call,) = asked
    assert call.startswith("/api/public/projects Basic ")


@pytest.mark.parametrize(
    ("status", "body", "level", "says", "remedy"),
    [
        (401, '{"message": "no such key: sk-lf-secret-1"}', "failure", "refuses the keys", "LANGFUSE_SECRET_KEY"),
        (403, "", "failure", "refuses the keys (HTTP 403)", "LANGFUSE_SECRET_KEY"),
        (200, "<html>sk-lf-secret-1</html>", "warning", "not as Langfuse does", "LANGFUSE_HOST"),
        (502, "", "warning", "answers 502", "LANGFUSE_HOST"),
    ],
)
def test_langfuse_that_is_not_as_it_should_be(
    status: int, body: str, level: str, says: str, remedy: str, doctor: Doctor
) -> None:
    with serving(status, body) as (url, _):
        told = doctor(LANGFUSE_HOST=url, **KEYS)
    found = told.one("langfuse", level)
    assert says in found["says"]
    assert remedy in found["remedy"]
    assert told.code == (level == "failure")
    assert "sk-lf-secret-1" not in told.text


def test_langfuse_that_is_not_there_or_hangs(doctor: Doctor) -> None:
    away = doctor(LANGFUSE_HOST=f"http://127.0.0.1:{free_port()}", **KEYS)
    assert "does not answer" in away.one("langfuse", "warning")["says"]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        told = doctor(LANGFUSE_HOST=f"http://127.0.0.1:{silent.getsockname()[1]}", **KEYS)
    assert "does not answer" in told.one("langfuse", "warning")["says"]
    assert told.code == 0


def test_half_of_langfuse_s_keys_are_none(doctor: Doctor) -> None:
    told = doctor(LANGFUSE_PUBLIC_KEY="pk-lf-public-1")
    assert "LANGFUSE_SECRET_KEY is not set" in told.one("langfuse", "warning")["says"]


def situation(var_dir: Path, *, running: bool = False) -> Situation:
    record = ProcessRecord("supervisor", "supervisor", 1, 0.0)
    state = RunState("token", record, "running") if running else None
    return Situation(Settings(var_dir=var_dir), state, None, lambda text: text)


def test_targets_are_asked_for_their_metrics(tmp_path: Path) -> None:
    folder = tmp_path / "prometheus"
    folder.mkdir()
    with serving(200, "# TYPE a counter\na 1\n") as (good, _), serving(200, "<html>") as (page, _):
        dead = f"127.0.0.1:{free_port()}"
        targets = [good.removeprefix("http://"), page.removeprefix("http://"), dead]
        (folder / "workers.json").write_text(json.dumps([{"targets": targets, "labels": {"job": "worker"}}]))
        (folder / "gateway.json").write_text(json.dumps([{"targets": targets[:1]}]))
        (folder / "broken.json").write_text('{"targets": []')
        found = list(of_targets.find(situation(tmp_path, running=True)))
        stopped = list(of_targets.find(situation(tmp_path)))
    broken, gateway, *silent = found
    assert (broken.level, broken.says.startswith(f"{folder / 'broken.json'} cannot be read")) == (Level.WARNING, True)
    assert (gateway.level, gateway.says) == (Level.OK, "gateway.json: 1 of 1 answer")
    assert [one.level for one in silent] == [Level.WARNING, Level.WARNING]
    assert f"workers.json: {targets[1]} gives no metrics (no metrics page)" in silent[0].says
    assert dead in silent[1].says
    assert [one.level for one in stopped] == [Level.WARNING, Level.OK, Level.OK], "who does not run answers nobody"


def test_a_check_that_hangs_or_breaks_takes_no_other_with_it(tmp_path: Path) -> None:
    let_go = threading.Event()

    def hangs(_: Situation) -> Iterator[Finding]:
        yield ok(Check.DISK, "so far")
        let_go.wait(60)

    def breaks(_: Situation) -> Iterator[Finding]:
        yield ok(Check.REDIS, "so far")
        raise RuntimeError("unforeseen, with a key in it: sk-of-nobody-1")

    def works(_: Situation) -> Iterator[Finding]:
        yield ok(Check.LANGFUSE, "fine")

    groups = [
        examination.Group(Check.DISK, hangs),
        examination.Group(Check.REDIS, breaks),
        examination.Group(Check.LANGFUSE, works),
    ]
    looked = Situation(Settings(var_dir=tmp_path), None, None, lambda text: text.replace("sk-of-nobody-1", "*"))
    found = examination.examine(looked, groups, within_s=3)
    let_go.set()
    assert [(one.check, one.level) for one in found] == [
        (Check.DISK, Level.OK), (Check.DISK, Level.FAILURE),
        (Check.REDIS, Level.OK), (Check.REDIS, Level.FAILURE),
        (Check.LANGFUSE, Level.OK),
    ]  # fmt: skip
    assert "no end within 3 s" in found[1].says
    assert found[3].says == "the check itself broke: RuntimeError: unforeseen, with a key in it: *"
