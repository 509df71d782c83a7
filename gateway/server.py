"""The gateway's socket and the uvicorn that serves on it."""

import asyncio
import socket
import time

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from core_config import ConfigurationError

from .event_stream import DROP
from .running import Gateway

BACKLOG = 2048
KEEP_ALIVE_S = 75
"""Longer than the sixty seconds after which load balancers drop idle connections: it is they who close, not we."""
SHUTDOWN_S = 5
LINGER_S = 5.0
GOODBYE_S = 1.0
"""How long clients on kept connections may take to call once more, and be told that it was the last time."""


def inherited_socket(fd: int) -> socket.socket:
    """A listening socket that the parent opened. Raises ConfigurationError."""
    try:
        listener = socket.socket(fileno=fd)
        listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ConfigurationError(f"--fd {fd} is no socket that this process inherited ({error.strerror}).") from None
    if not listening:
        listener.close()
        raise ConfigurationError(f"--fd {fd} is a socket that does not listen; call listen() before handing it on.")
    return listener


def own_socket(host: str, port: int) -> socket.socket:
    """Listens on the address. Raises ConfigurationError, for a taken port too."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigurationError(
            f"GATEWAY_HOST={host} GATEWAY_PORT={port} cannot be listened on: {error.strerror}. "
            f"Stop what uses the port, or set GATEWAY_PORT to another."
        ) from None


def address_of(listener: socket.socket) -> str | None:
    """The host that the socket can be reached at; None for a Unix socket."""
    if listener.family == getattr(socket, "AF_UNIX", None):
        return None
    host: str = listener.getsockname()[0]
    return host


class Connection(HttpToolsProtocol):
    """uvicorn's, with a way to end an answer whose reader takes nothing: a plain close waits for the reader."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {DROP: {"drop": self.drop}}

    def drop(self, last: bytes) -> None:
        """Closes the connection. `last` ends the (chunked) answer, should the reader read again within LINGER_S."""
        cycle = self.cycle
        if cycle is None or cycle.disconnected or self.transport.is_closing():
            return
        self.transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last))
        cycle.response_complete = True  # for uvicorn, which else reports an answer without an end
        self.transport.close()
        self.loop.call_later(LINGER_S, self.transport.abort)


class Server(uvicorn.Server):
    """uvicorn, with a shutdown that first lets waiting calls answer: else each would hold it up for a minute."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http=Connection,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,  # the metrics count requests; a line each would be the most of the log
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=SHUTDOWN_S,
            )
        )
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        gateway: Gateway = self._app.state.gateway
        gateway.begin_stop()
        for server in self.servers:
            server.close()
        await self._say_goodbye()
        await super().shutdown(sockets)

    async def _say_goodbye(self) -> None:
        """Lets clients close their connections before we do. One that is closed while a call is on its way looks to
        its client as if the call had failed, and it cannot know whether its task was taken.
        """
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        until = time.monotonic() + GOODBYE_S
        while self.server_state.connections and not self.force_exit and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # uvicorn has no event for it
