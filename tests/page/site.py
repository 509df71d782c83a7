"""What a reader of the page needs: its files on a web server, and a Longhaul that lets that origin call."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx

from core_config import ROOT
from operations import runstate
from tests.system.conftest import System

KEY = "ak_alice_1"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served_page() -> Iterator[str]:
    """The port of `python -m http.server` in examples/page, in this process."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(ROOT / "examples" / "page")))
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield str(server.server_address[1])
    finally:
        server.shutdown()
        thread.join(20)
        server.server_close()


class Site:
    def __init__(self, system: System, port: str) -> None:
        self.system = system
        self.url = f"http://localhost:{port}/"
        """The origin that CORS_ORIGINS names."""
        self.unlisted_url = f"http://127.0.0.1:{port}/"
        """The same files, and for a browser another origin."""

    def release(self, word: str) -> bool:
        """Lets the model go on where it was told to hold; answers whether it waited there."""
        return bool(self._simulator("POST", "/release", {"match": word})["released"])

    def script(self, *answers: dict[str, object]) -> None:
        """What the model says next, word for word."""
        self._simulator("POST", "/script", {"answers": answers})

    def calls(self, word: str) -> list[str]:
        """How each model call of a task ended, or `running`."""
        return [call["outcome"] for call in self._simulator("GET", f"/journal?match={word}")["calls"]]

    def _simulator(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        state = runstate.read(self.system.folder / "var")
        assert state
        url = f"http://127.0.0.1:{state.simulator_port}{path}"
        answer = httpx.request(method, url, json=body, trust_env=False, timeout=60)
        assert answer.is_success, answer.text
        read: dict[str, Any] = answer.json()
        return read

    def tasks(self) -> list[str]:
        """The ids of the newest hundred tasks."""
        answer = self.system.http.get("/tasks", params={"limit": 100})
        assert answer.status_code == 200, answer.text
        return [task["task_id"] for task in answer.json()["tasks"]]


@contextmanager
def running_site(folder: Path, **environment: str) -> Iterator[Site]:
    """Longhaul as `manage.py start` runs it, with an API key, and the page beside it."""
    with served_page() as port:
        digest = hashlib.sha256(KEY.encode()).hexdigest()
        system = System(
            folder,
            API_KEYS=f"alice:{digest}",
            ACTIVE_MODEL_KEY="Simulator",
            CORS_ORIGINS=f"http://localhost:{port}",
            **environment,
        )
        system.http.headers["authorization"] = f"Bearer {KEY}"
        try:
            yield Site(system.start(), port)
        finally:
            system.end()
