"""The workers' metrics page, from a thread: `GET /metrics` at WORKER_METRICS_HOST:WORKER_METRICS_PORT.

Under `manage.py` all workers of a copy accept from one socket that the supervisor opened, so the page is there while
any of them lives. Workers that were started by hand bind the port themselves: the first one has it, and the others try
again and again, so that one of them takes it over. Either way it is the page of all that share
PROMETHEUS_MULTIPROC_DIR.
"""

import errno
import logging
import os
import socket
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from core_config import Settings
from monitoring import exposition, metrics

PATH = "/metrics"
AGAIN_AFTER_S = 2.0
"""Without the port."""
READ_S = 5.0
"""A client that says nothing for so long is let go."""
MOST_AT_ONCE = 8

log = logging.getLogger(__name__)


class MetricsServer:
    """Of one worker process; it ends with it."""

    def __init__(self, settings: Settings, fd: int | None = None) -> None:
        """`fd`: of a listening socket that the parent opened."""
        self._host, self._port = settings.worker_metrics_host, settings.worker_metrics_port
        self._fd = fd

    def start(self) -> None:
        """Nothing is served with port 0, unless on a socket of the parent's."""
        if self._fd is not None or self._port:
            threading.Thread(target=self._run, name="metrics", daemon=True).start()

    def _run(self) -> None:
        listener = self._listener()
        log.info("metrics_served", extra={"address": listener.getsockname()[:2]})
        with _Server(listener) as server:
            server.serve_forever()

    def _listener(self) -> socket.socket:
        if self._fd is not None:
            os.set_inheritable(self._fd, False)
            return socket.socket(fileno=self._fd)
        told = False
        while True:
            try:
                return bound(self._host, self._port)
            except OSError as error:
                if not told:
                    self._tell(error)
                    told = True
            time.sleep(AGAIN_AFTER_S)

    def _tell(self, error: OSError) -> None:
        about = {"address": f"{self._host}:{self._port}", "cause": error.strerror or str(error)}
        if error.errno == errno.EADDRINUSE and metrics.SHARED is not None:
            log.info("metrics_port_taken", extra={**about, "effect": "fine, if by a worker of the same directory"})
            return
        remedy = f"another WORKER_METRICS_PORT, or 0; workers of one host can share {metrics.MULTIPROC_DIR}"
        log.warning("metrics_not_served", extra={**about, "remedy": remedy})


def bound(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError."""
    family, _, _, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
    return socket.create_server(address[:2], family=family, backlog=64)


class _Page(BaseHTTPRequestHandler):
    timeout = READ_S

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self._answer(HTTPStatus.NOT_FOUND, b"The page is " + PATH.encode() + b".\n")
            return
        try:
            text, content_type = exposition.workers_page()
        except Exception:
            log.exception("metrics_unread")
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"The counts cannot be read; the worker's log has why.\n")
            return
        self._answer(HTTPStatus.OK, text, content_type)

    do_HEAD = do_GET  # noqa: N815  http.server's name

    def __getattr__(self, name: str) -> "object":
        """http.server looks for a method of the name of the request's."""
        if name.startswith("do_"):
            return self._refuse
        raise AttributeError(name)

    def _refuse(self) -> None:
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, b"GET it.\n", Allow="GET, HEAD")

    def _answer(
        self, status: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8", **headers: str
    ) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": content_type,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        return "longhaul"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server's name
        """Says nothing: a line each time would be the most of a quiet worker's log."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, listener: socket.socket) -> None:
        super().__init__(listener.getsockname()[:2], _Page, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.socket.setblocking(False)  # others accept from it too: who comes too late is not to wait in there
        self._room = threading.BoundedSemaphore(MOST_AT_ONCE)

    def process_request_thread(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]  # http.server types both more widely
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def verify_request(self, request: object, client_address: object) -> bool:  # noqa: ARG002  socketserver's signature
        return self._room.acquire(blocking=False)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002  as above
        """A client that went away."""
        log.debug("metrics_client_left")
