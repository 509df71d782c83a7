"""Serves an ASGI application on an open socket until SIGTERM or Ctrl-C."""

import logging
import signal
import socket
import sys
from types import FrameType
from typing import Any

import uvicorn

from loadtest.simulator.log_line import LogLine

# Past a common client's own keep-alive, so that no request goes into a connection that is just being closed.
KEEP_ALIVE_SECONDS = 75


def serve(application: Any, listener: socket.socket, greeting: str) -> None:
    """Writes `greeting` with the address to standard output once it can be called; leaves by SystemExit(0)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogLine())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    # uvicorn's complaints are about answers that were cut because somebody asked for it; the app logs its own faults.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        application,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=1,
    )
    # uvicorn raises the signal again when it has shut down: by then it has been obeyed.
    signal.signal(signal.SIGTERM, _obeyed)
    signal.signal(signal.SIGINT, _obeyed)
    host, port = listener.getsockname()[:2]
    sys.stdout.write(f"{greeting} http://{f'[{host}]' if ':' in host else host}:{port}/v1\n")
    sys.stdout.flush()
    uvicorn.Server(config).run(sockets=[listener])


def _obeyed(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)
