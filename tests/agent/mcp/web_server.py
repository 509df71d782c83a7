"""An MCP server over HTTP for tests, of the kind with sessions, in threads; misbehaves on demand."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any

ANY = {"type": "object", "properties": {}}
TOOLS = ("echo", "headers", "hang", "breaks", "huge", "forget", "error")


class WebServer(ThreadingHTTPServer):
    """`redirect_to`: where every request is sent on to. `status`: what every request is answered with."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/mcp"
        self.sessions: set[str] = set()
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        """Method, path, headers in lower case."""
        self.redirect_to: str | None = None
        self.status: int | None = None
        self.body = b"no"
        self.stopped = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: WebServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client has gone
            super().handle()

    def do_GET(self) -> None:
        self._noted()
        self._answer(405, b"")

    def do_DELETE(self) -> None:
        self._noted()
        self.server.sessions.discard(self.headers.get("mcp-session-id", ""))
        self._answer(200, b"")

    def do_POST(self) -> None:
        self._noted()
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.server.redirect_to:
            self._answer(307, b"", headers={"location": self.server.redirect_to})
        elif self.server.status:
            self._answer(self.server.status, self.server.body, kind="text/html")
        elif message["method"] == "initialize":
            session = f"session-{len(self.server.requests)}"
            self.server.sessions.add(session)
            who = {"name": "web", "version": "1"}
            result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": who}
            self._result(message, result, session=session)
        elif message["method"] == "server/discover":
            self._answer(400, b"")
        elif self.headers.get("mcp-session-id") not in self.server.sessions:
            self._answer(404, b"")
        elif "id" not in message:
            self._answer(202, b"")
        elif message["method"] == "tools/list":
            self._result(message, {"tools": [{"name": name, "inputSchema": ANY} for name in TOOLS]})
        else:
            self._call(message)

    def _call(self, message: Any) -> None:
        match message["params"]["name"]:
            case "echo":
                self._text(message, message["params"]["arguments"]["text"])
            case "headers":
                self._text(message, json.dumps(self.server.requests[-1][2]))
            case "hang":
                self.server.stopped.wait(30)
                self.close_connection = True
            case "breaks":
                self._answer(200, b'{"jsonrpc"', length=1000)
                self.close_connection = True
            case "huge":
                self._text(message, "x" * 5_000_000)
            case "forget":
                self.server.sessions.clear()
                self._text(message, "forgotten")
            case "error":
                error = {"code": -32602, "message": "No such shelf."}
                self._answer(200, json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}).encode())

    def _text(self, message: Any, text: str) -> None:
        self._result(message, {"content": [{"type": "text", "text": text}]})

    def _result(self, message: Any, result: object, *, session: str | None = None) -> None:
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
        self._answer(200, body, headers={"mcp-session-id": session} if session else {})

    def _answer(
        self,
        status: int,
        body: bytes,
        *,
        kind: str = "application/json",
        length: int | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.send_response(status)
        for name, value in {"content-type": kind, **headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def _noted(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((self.command, self.path, headers))


@contextmanager
def web_server() -> Iterator[WebServer]:
    server = WebServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()
