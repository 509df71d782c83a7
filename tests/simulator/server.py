"""The real simulator process, and the requests that tests send to it."""

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-canary-4f1d2c3b5a69788796a5b4c3d2e1f001"


def tool(name: str, *arguments: str) -> Any:
    """An offered tool whose arguments are all required strings."""
    parameters = {
        "type": "object",
        "properties": {argument: {"type": "string"} for argument in arguments},
        "required": list(arguments),
    }
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


CALCULATOR = tool("calculator", "expression")
GET_TIME = tool("get_time")
SEARCH = tool("search", "query")
TOOLS = [CALCULATOR, GET_TIME, SEARCH]


def user(text: str) -> Any:
    return {"role": "user", "content": text}


@dataclass(frozen=True)
class Server:
    """A running simulator; `url` is the base URL of an OpenAI client."""

    process: subprocess.Popen[str]
    url: str
    root: str
    http: httpx.Client

    def post(self, text: str | None = None, **body: Any) -> httpx.Response:
        """One chat call; with `text`, from a user who says just that."""
        if text is not None:
            body["messages"] = [user(text)]
        body.setdefault("model", "simulator")
        return self.http.post(
            f"{self.url}/chat/completions", json=body, headers={"authorization": f"Bearer {KEY}"}, timeout=60
        )

    def say(self, text: str, **body: Any) -> dict[str, Any]:
        """The assistant's message that answers `text`."""
        return self.message(messages=[user(text)], **body)

    def message(self, **body: Any) -> dict[str, Any]:
        answer = self.post(**body)
        assert answer.status_code == 200, answer.text
        message: dict[str, Any] = answer.json()["choices"][0]["message"]
        return message

    def journal(self, **query: Any) -> dict[str, Any]:
        answer = self.http.get(f"{self.root}/journal", params=query)
        assert answer.status_code == 200, answer.text
        journal: dict[str, Any] = answer.json()
        return journal

    def call(self, match: str, *, outcome: str | None = None, within_s: float = 30) -> dict[str, Any]:
        """The one journalled call whose message holds `match`, as soon as it has that outcome."""
        give_up = time.monotonic() + within_s
        while True:
            calls = self.journal(match=match)["calls"]
            if len(calls) == 1 and outcome in (None, calls[0]["outcome"]):
                found: dict[str, Any] = calls[0]
                return found
            assert time.monotonic() < give_up, f"no call {match!r} with outcome {outcome} in {calls}"
            time.sleep(0.01)


@contextmanager
def hanging(server: Server, text: str, calls: int = 1) -> Iterator[list[socket.socket]]:
    """So many calls that the simulator holds without an answer; at the end of the block their clients leave."""
    host, port = server.root.removeprefix("http://").split(":")
    body = json.dumps({"model": "simulator", "messages": [user(f"{text} [[hang]]")]}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    with ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(calls)]
        for connection in connections:
            connection.sendall(head + body)
        give_up = time.monotonic() + 10
        while len(server.journal(match=text)["calls"]) < calls:
            assert time.monotonic() < give_up, "the calls did not arrive"
            time.sleep(0.01)
        yield connections


@contextmanager
def running(*options: str) -> Iterator[Server]:
    """A simulator on a free port; it must have written nothing to stderr by its end."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "loadtest.simulator", "--port", "0", *options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "http://" in line, line
            url = line[line.index("http://") :].split()[0]
            with httpx.Client(trust_env=False) as http:
                yield Server(process, url, url.removesuffix("/v1"), http)
        finally:
            process.terminate()
            process.wait(timeout=60)
            if process.stdout is not None:
                process.stdout.close()
            errors.seek(0)
            said = errors.read()
        assert not said, said
