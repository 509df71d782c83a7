"""A bridge from Alertmanager's webhook to the robots of DingTalk and Feishu groups: docs/alerts.md.

    python -m monitoring.alert_bridge --dingtalk-url-file FILE [--dingtalk-secret-file FILE]
                                      --feishu-url-file FILE [--feishu-secret-file FILE] [--listen 127.0.0.1:8060]

POST /dingtalk and /feishu take a notification. 200: the robot has it. 400: it was none, and Alertmanager drops it.
502: the robot refused it or was not reached, and Alertmanager sends it again. Files are read anew for each, so that a
changed secret needs no restart. No address or secret is ever printed: an address holds a token.
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from core_config import keep_loopback_off_proxies
from monitoring.chat_robots import KINDS, Robot, refusal

MOST_BYTES = 1_000_000
SEND_S = 8
"""Under the ten seconds after which Alertmanager gives up waiting and sends again."""

log = logging.getLogger(__name__)

Files = dict[str, tuple[Path, Path | None]]
"""By kind: the file of the robot's address, and that of its secret."""


class Bridge(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], files: Files) -> None:
        super().__init__(address, _Handler)
        self._files = files

    def kinds(self) -> list[str]:
        return list(self._files)

    def send(self, kind: str, notification: dict[str, object]) -> str | None:
        """Hands it to the robot; why not, or None. Raises what `words_of` raises."""
        url, secret = self._files[kind]
        try:
            robot = Robot(_content(url), None if secret is None else _content(secret))
        except (OSError, UnicodeDecodeError) as error:
            return f"its files cannot be read ({type(error).__name__})"
        message = KINDS[kind](robot, notification, time.time())
        try:
            answer = httpx.post(message.url, json=message.body, timeout=SEND_S)
            answer.raise_for_status()
            return refusal(answer.json())
        except httpx.HTTPStatusError as error:
            return f"HTTP {error.response.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, AttributeError) as error:
            return type(error).__name__  # its text may hold the address


class _Handler(BaseHTTPRequestHandler):
    server: Bridge
    timeout = 30

    def do_POST(self) -> None:
        kind = self.path.strip("/")
        if kind not in self.server.kinds():
            self._answer(404, f"there is no {self.path}; there are: {', '.join(self.server.kinds())}")
            return
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            length = -1
        if not 0 <= length <= MOST_BYTES:
            self._answer(413 if length > MOST_BYTES else 411, f"a body of at most {MOST_BYTES} bytes, with its length")
            return
        try:
            problem = self.server.send(kind, json.loads(self.rfile.read(length)))
        except (ValueError, KeyError, TypeError, AttributeError):
            self._answer(400, "this is no notification of Alertmanager's webhook")
            return
        if problem is None:
            self._answer(200, "sent")
        else:
            log.warning("%s did not take a notification: %s", kind, problem)
            self._answer(502, problem)

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name there
        """Not a line a request: what goes wrong has its own."""


def _content(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m monitoring.alert_bridge", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--listen", default="127.0.0.1:8060", metavar="HOST:PORT", help="(127.0.0.1:8060)")
    for kind in KINDS:
        parser.add_argument(f"--{kind}-url-file", type=Path, metavar="FILE", help="the robot's address, alone in it")
        parser.add_argument(
            f"--{kind}-secret-file", type=Path, metavar="FILE", help="its secret, if it wants signatures"
        )
    given = vars(parser.parse_args(arguments))
    files: Files = {
        kind: (given[f"{kind}_url_file"], given[f"{kind}_secret_file"]) for kind in KINDS if given[f"{kind}_url_file"]
    }
    host, _, port = given["listen"].rpartition(":")
    if not files:
        parser.error("name the file of a robot's address: " + " or ".join(f"--{kind}-url-file" for kind in KINDS))
    if not port.isdecimal():
        parser.error(f"--listen {given['listen']}: write it as HOST:PORT")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s alert_bridge %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # its lines hold addresses
    keep_loopback_off_proxies()
    with Bridge((host.strip("[]"), int(port)), files) as bridge:
        log.info("listening at %s for %s", given["listen"], ", ".join(files))
        try:
            bridge.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
