"""One HTTP request and its answer over raw ASGI, with a client that may leave at any time."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

MAX_BODY_BYTES = 16 * 1024 * 1024
JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")


class ClientGoneError(Exception):
    """The client closed the connection before it had its answer."""


class BodyTooLargeError(Exception):
    """The body is over MAX_BODY_BYTES."""


class Exchange:
    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self._headers: Headers = scope["headers"]
        self._receive = receive
        self._send = send

    def header(self, name: bytes) -> str | None:
        return next((value.decode("latin-1") for key, value in self._headers if key == name), None)

    async def body(self) -> bytes:
        parts = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            part = message.get("body", b"")
            size += len(part)
            if size > MAX_BODY_BYTES:
                raise BodyTooLargeError
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    async def pause(self, seconds: float | None) -> None:
        """Waits that long, for ever with None; raises ClientGoneError once the client has left. For after `body`."""
        until = None if seconds is None else time.perf_counter() + seconds
        while until is None or (left := until - time.perf_counter()) > 0:
            try:
                # uvloop counts whole milliseconds from the beginning of its turn, so a timer may come too early
                async with asyncio.timeout(None if until is None else math.ceil(left * 1000) / 1000):
                    while (await self._receive())["type"] != "http.disconnect":
                        pass
            except TimeoutError:
                continue
            raise ClientGoneError

    async def until(self, event: asyncio.Event) -> None:
        """Waits for the event; raises ClientGoneError when the client leaves first. For after `body`."""
        waiting, leaving = asyncio.create_task(event.wait()), asyncio.create_task(self.pause(None))
        try:
            await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                leaving.result()
        finally:
            waiting.cancel()
            leaving.cancel()

    async def start(self, status: int, headers: Headers) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes) -> None:
        """Sends a piece; an answer that never comes to `finish` is cut: the server closes the connection."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self, data: bytes = b"") -> None:
        await self._send({"type": "http.response.body", "body": data})

    async def respond(self, status: int, body: bytes, headers: Headers | None = None) -> None:
        await self.start(status, [*(headers or [JSON]), (b"content-length", str(len(body)).encode())])
        await self.finish(body)

    async def respond_json(self, status: int, data: object) -> None:
        await self.respond(status, orjson.dumps(data, option=orjson.OPT_APPEND_NEWLINE))
