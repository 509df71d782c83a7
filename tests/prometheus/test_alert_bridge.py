"""The bridge to DingTalk and Feishu, as a process, against a server that judges signatures as they do."""

import base64
import hashlib
import hmac
import json
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from core_config import ROOT
from longhaul_testing.ports import free_port
from monitoring.chat_robots import MOST_BYTES, words_of

SECRET = "SEC-planted-secret"
TOKEN = "planted-token"
ALERT: dict[str, Any] = {
    "status": "firing",
    "labels": {"alertname": "NoWorker", "severity": "page"},
    "annotations": {
        "summary": "No worker is alive, so tasks are accepted and none runs.",
        "description": "Run manage.py status.",
        "runbook_url": "docs/runbook.md#noworker",
    },
}
NOTIFICATION = {
    "version": "4",
    "status": "firing",
    "groupLabels": {"alertname": "NoWorker"},
    "commonLabels": {"alertname": "NoWorker", "severity": "page"},
    "alerts": [ALERT],
}


class Robots(ThreadingHTTPServer):
    """Both services' ways: HTTP 200 whatever happens, and a code in the body."""

    def __init__(self):
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.status = 200
        super().__init__(("127.0.0.1", free_port()), _RobotHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, kind: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{kind}?access_token={TOKEN}"


class _RobotHandler(BaseHTTPRequestHandler):
    server: Robots

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(asked.query).items()}
        if asked.path == "/dingtalk":
            stamp = query.get("timestamp", "0")
            key, text, sign, age_s = SECRET, f"{stamp}\n{SECRET}", query.get("sign"), time.time() - int(stamp) / 1000
            good, bad = {"errcode": 0, "errmsg": "ok"}, {"errcode": 310000, "errmsg": "sign not match"}
        else:
            stamp = body.get("timestamp", "0")
            key, text, sign, age_s = f"{stamp}\n{SECRET}", "", body.get("sign"), time.time() - int(stamp)
            good, bad = {"code": 0, "msg": "success"}, {"code": 19021, "msg": "sign match fail"}
        wanted = base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()).decode()
        taken = sign == wanted and abs(age_s) < 3600 and query.get("access_token") == TOKEN
        if taken:
            self.server.taken.append((asked.path.strip("/"), body))
        answer = json.dumps(good if taken else bad).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bridge")


@pytest.fixture(scope="module")
def robots():
    with Robots() as server:
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def bridge(folder, robots):
    """Its address. The files are the module's, and may be changed by a test."""
    port = free_port()
    command = [sys.executable, "-m", "monitoring.alert_bridge", "--listen", f"127.0.0.1:{port}"]
    for kind in ("dingtalk", "feishu"):
        (folder / f"{kind}_url").write_text(robots.url(kind) + "\n")
        (folder / f"{kind}_secret").write_text(SECRET + "\n")
        command += [f"--{kind}-url-file", str(folder / f"{kind}_url")]
        command += [f"--{kind}-secret-file", str(folder / f"{kind}_secret")]
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said)
    try:
        until = time.monotonic() + 60
        while b"listening" not in (folder / "said").read_bytes():
            assert process.poll() is None, (folder / "said").read_text()
            assert time.monotonic() < until
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def post(url: str, content) -> httpx.Response:
    body = content if isinstance(content, bytes) else json.dumps(content)
    return httpx.post(url, content=body, trust_env=False, timeout=60)


@pytest.mark.parametrize("kind", ["dingtalk", "feishu"])
def test_a_signed_message_arrives(bridge, robots, kind):
    robots.taken.clear()
    assert post(f"{bridge}/{kind}", NOTIFICATION).status_code == 200
    ((taken_by, body),) = robots.taken
    assert taken_by == kind
    text = body["markdown"]["text"] if kind == "dingtalk" else body["content"]["text"]
    assert "[FIRING 1] PAGE NoWorker" in text
    for words in ALERT["annotations"].values():
        assert words in text


@pytest.mark.parametrize("kind", ["dingtalk", "feishu"])
def test_what_a_robot_refuses_is_sent_again_by_alertmanager_and_no_secret_is_told(bridge, robots, folder, kind):
    """A refusal comes with HTTP 200: passed on as it is, the alert would be lost."""
    robots.taken.clear()
    file = folder / f"{kind}_secret"
    file.write_text("another")
    answer = post(f"{bridge}/{kind}", NOTIFICATION)
    file.write_text(SECRET)
    assert answer.status_code == 502
    assert "sign" in answer.text
    assert not robots.taken
    assert post(f"{bridge}/{kind}", NOTIFICATION).status_code == 200  # the file is read anew
    for said in (answer.text, (folder / "said").read_text()):
        assert TOKEN not in said
        assert SECRET not in said


def test_a_robot_that_fails_or_is_not_there_is_told_without_its_address(bridge, robots, folder):
    robots.status = 500
    answer = post(f"{bridge}/feishu", NOTIFICATION)
    robots.status = 200
    assert (answer.status_code, answer.text) == (502, "HTTP 500")
    file = folder / "feishu_url"
    file.write_text(f"http://127.0.0.1:{free_port()}/?access_token={TOKEN}")
    answer = post(f"{bridge}/feishu", NOTIFICATION)
    file.unlink()
    missing = post(f"{bridge}/feishu", NOTIFICATION)
    file.write_text(robots.url("feishu"))
    assert (answer.status_code, answer.text) == (502, "ConnectError")
    assert (missing.status_code, missing.text) == (502, "its files cannot be read (FileNotFoundError)")


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"no json", 400), (b"[]", 400), (b'{"alerts": 1}', 400), (b'{"alerts": [{}]}', 400), (b"x" * 1_000_001, 413)],
)
def test_what_is_no_notification_is_refused(bridge, robots, content, status):
    robots.taken.clear()
    assert post(f"{bridge}/dingtalk", content).status_code == status
    assert not robots.taken
    assert post(f"{bridge}/elsewhere", NOTIFICATION).status_code == 404


def test_resolved_alerts_come_last_and_say_so():
    over = {**ALERT, "status": "resolved"}
    title, text = words_of({**NOTIFICATION, "alerts": [over, ALERT]})
    assert title == "[FIRING 1] PAGE NoWorker"
    assert text.index("Run manage.py status.") < text.index("Over: No worker is alive")
    assert words_of({**NOTIFICATION, "alerts": [over]})[0] == "[RESOLVED] PAGE NoWorker"


def test_a_message_stays_under_what_robots_take():
    long = {**ALERT, "annotations": {"summary": "字" * 20_000}}
    _, text = words_of({**NOTIFICATION, "alerts": [long]})
    assert len(text.encode()) <= MOST_BYTES + 5
    assert "\ufffd" not in text


def test_without_a_robot_it_says_what_it_needs():
    done = subprocess.run([sys.executable, "-m", "monitoring.alert_bridge"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--dingtalk-url-file" in done.stderr
