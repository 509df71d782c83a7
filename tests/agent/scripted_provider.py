"""A model provider that answers what a test scripted: real HTTP on a loopback port, in a thread of its own."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Reply:
    """One answer. `how`: whole; hang (never answers); close (ends without a byte); half (breaks off in the body);
    drip (a byte at a time, for ever)."""

    status: int = 200
    body: dict[str, Any] | str = ""
    headers: dict[str, str] = field(default_factory=dict)
    how: Literal["whole", "hang", "close", "half", "drip"] = "whole"


@dataclass(frozen=True)
class Request:
    """What arrived. For a proxy `target` is a whole URL, or host:port after CONNECT."""

    method: str
    target: str
    headers: dict[str, str]
    body: dict[str, Any]


def completion(
    text: str | None = None,
    *,
    calls: list[tuple[str, Any]] | None = None,
    finish: str | None = None,
    usage: dict[str, Any] | None = None,
) -> Reply:
    """An OpenAI chat completion; `calls` are (tool, arguments), where arguments given as str are sent as they are."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [
            {
                "id": f"call_{number}_{name}",
                "type": "function",
                "function": {"name": name, "arguments": given if isinstance(given, str) else json.dumps(given)},
            }
            for number, (name, given) in enumerate(calls)
        ]
    return Reply(
        body={
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "scripted",
            "choices": [
                {"index": 0, "message": message, "finish_reason": finish or ("tool_calls" if calls else "stop")}
            ],
            "usage": usage or {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        }
    )


class ScriptedProvider:
    """Answers with the replies of `script` in turn; the last one again and again."""

    def __init__(self) -> None:
        self.script: list[Reply] = [completion("Done.")]
        self.requests: list[Request] = []
        self.connections = 0
        self.closed_early = 0
        """Connections that the client ended while it was owed an answer."""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="scripted-provider")
        self._thread.start()
        assert self._ready.wait(10)

    def says(self, *replies: Reply) -> None:
        self.script = list(replies)

    def reply_to(self, request: Request) -> Reply:
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)

    def _serve(self) -> None:
        self._loop.run_until_complete(self._until_stopped())
        self._loop.close()

    async def _until_stopped(self) -> None:
        self._stopped = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopped.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self.connections += 1
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client, or the test, is done
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = start.split(" ", 2)
        headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines) if key}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append(Request(method, target, headers, json.loads(body) if body else {}))
        reply = self.reply_to(self.requests[-1])
        payload = (reply.body if isinstance(reply.body, str) else json.dumps(reply.body)).encode()
        head = {"content-type": "application/json", **reply.headers}
        head["content-length"] = str(len(payload) if reply.how == "whole" else 1_000_000)
        answer = f"HTTP/1.1 {reply.status} Scripted\r\n" + "".join(f"{k}: {v}\r\n" for k, v in head.items()) + "\r\n"
        match reply.how:
            case "close":
                return False
            case "whole":
                writer.write(answer.encode() + payload)
                await writer.drain()
                return True
            case "half":
                writer.write(answer.encode() + payload[: len(payload) // 2])
                await writer.drain()
                return False
            case "drip":
                writer.write(answer.encode())
                await self._until_gone(reader, writer, b" ")
                return False
            case "hang":
                await self._until_gone(reader, writer, b"")
                return False

    async def _until_gone(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, byte: bytes) -> None:
        gone = asyncio.ensure_future(reader.read(1))
        try:
            while not gone.done():
                writer.write(byte)
                await asyncio.wait([gone], timeout=0.02)
        finally:
            gone.cancel()
        self.closed_early += 1


@contextmanager
def scripted_provider() -> Iterator[ScriptedProvider]:
    provider = ScriptedProvider()
    try:
        yield provider
    finally:
        provider.stop()


async def eventually(holds: Callable[[], bool], seconds: float = 5) -> None:
    """Waits until `holds()`; fails when it doesn't within `seconds`."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.01)
