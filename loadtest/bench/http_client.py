"""A client that costs next to nothing: requests of the same kind over kept connections, one at a time on each.

    python -m loadtest.bench.http_client      obeys orders on its input, one answer each on its output, JSON lines

`{"port": ..., "requests": [...], "count": 3000, "connections": 32}` sends the requests in turn until so many were
answered, and answers `{"seconds": ..., "p50_ms": ...}`, or `{"error": ...}` at the first answer that is no 200.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

import uvloop

from loadtest.bench.stage import BenchError, Program, Stage

_HEAD_END = b"\r\n\r\n"


class Load:
    """One order."""

    def __init__(self, requests: list[bytes], count: int) -> None:
        self.requests, self.left, self.unanswered = requests, count, count
        self.took: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def next(self) -> bytes | None:
        if self.left == 0 or self.done.done():
            return None
        self.left -= 1
        return self.requests[self.left % len(self.requests)]

    def answered(self, seconds: float) -> None:
        self.took.append(seconds)
        self.unanswered -= 1
        if self.unanswered == 0 and not self.done.done():
            self.done.set_result(None)

    def fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(why))


class Connection(asyncio.Protocol):
    def __init__(self, load: Load) -> None:
        self._load = load
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's are no subclass of it
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.fail(f"the server closed a connection: {exc}")

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(_HEAD_END)
        if end < 0:
            return
        head = self._received[:end].lower()
        at = head.find(b"\r\ncontent-length:")
        if not head.startswith(b"http/1.1 200") or at < 0:
            self._load.fail(self._received[:500].decode("latin-1"))
            return
        length = int(head[at + 17 :].split(b"\r\n", 1)[0])
        if len(self._received) < end + len(_HEAD_END) + length:
            return
        self._received = b""
        self._load.answered(time.perf_counter() - self._asked)
        self._ask()

    def _ask(self) -> None:
        request = self._load.next()
        if request is not None:
            self._asked = time.perf_counter()
            self._transport.write(request)


async def _send(order: Mapping[str, Any]) -> dict[str, object]:
    loop, load = asyncio.get_running_loop(), Load([one.encode() for one in order["requests"]], order["count"])
    transports = []
    began = time.perf_counter()
    try:
        for _ in range(order["connections"]):
            transport, _ = await loop.create_connection(lambda: Connection(load), "127.0.0.1", order["port"])
            transports.append(transport)
        await load.done
    except (RuntimeError, OSError) as error:
        return {"error": str(error)}
    finally:
        for transport in transports:
            transport.close()
    return {"seconds": time.perf_counter() - began, "p50_ms": 1000 * statistics.median(load.took)}


async def _obey() -> None:
    lines = asyncio.StreamReader(limit=2**24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        sys.stdout.write(json.dumps(await _send(json.loads(line))) + "\n")
        sys.stdout.flush()


class Client:
    """The process, as a visit has it."""

    def __init__(self, program: Program) -> None:
        self._program = program

    @classmethod
    async def start(cls, stage: Stage) -> "Client":
        return cls(await stage.start("http-client", [stage.means.python, "-m", __name__], stdin=True, stdout=True))

    async def send(self, url: str, requests: list[str], count: int, connections: int) -> dict[str, float]:
        """`seconds` and `p50_ms`. Raises BenchError when an answer is no 200."""
        pipe_in, pipe_out = self._program.process.stdin, self._program.process.stdout
        if pipe_in is None or pipe_out is None:
            raise BenchError("the client was started without pipes")
        port = int(url.rpartition(":")[2])
        order = {"port": port, "requests": requests, "count": count, "connections": connections}
        with suppress(ConnectionError):
            pipe_in.write(json.dumps(order).encode() + b"\n")
            await pipe_in.drain()
        line = await pipe_out.readline()
        told: dict[str, Any] = json.loads(line) if line else {"error": self._program.last_lines()}
        if "error" in told:
            raise BenchError(f"the client met an answer that is no 200: {told['error']}")
        return told


def get(path: str, headers: Mapping[str, str]) -> str:
    return _request("GET", path, headers, "")


def post(path: str, headers: Mapping[str, str], body: Mapping[str, object]) -> str:
    return _request("POST", path, {**headers, "Content-Type": "application/json"}, json.dumps(body))


def _request(method: str, path: str, headers: Mapping[str, str], body: str) -> str:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", body])


if __name__ == "__main__":
    uvloop.run(_obey())
