"""A model server that costs next to nothing: what is measured beside it is whoever calls it.

    python -m loadtest.bench.scripted_model         prints its port

`POST /v1/chat/completions` asks for the tool `calculator` twice, then answers: a run is three calls. It does not parse
the conversation, it counts what the assistant has said. A conversation with HOLD in it is answered when `POST /release`
comes; `GET /held` says how many wait. It streams nothing. Whatever else it is sent, such as spans, it takes and
forgets.
"""

import asyncio
import json
import re
import sys
from typing import Final, cast

import httpx
import uvloop

from loadtest.bench.stage import BenchError, Stage

HOLD: Final = "[hold]"
TOOL: Final = "calculator"
CALLS: Final = 3

_ASKED: Final = b"POST /v1/chat/completions "
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_SAID: Final = re.compile(rb'"role": *"assistant"')
_STREAM: Final = re.compile(rb'"stream": *true')


def _answer(status: str, body: object) -> bytes:
    payload = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
    return head.encode() + payload


def _completion(said: int) -> bytes:
    message: dict[str, object] = {"role": "assistant", "content": "Done."}
    if said < CALLS - 1:
        function = {"name": TOOL, "arguments": json.dumps({"expression": f"{said} + 1"})}
        message = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": f"call_{said}", "type": "function", "function": function}],
        }
    finish = "tool_calls" if "tool_calls" in message else "stop"
    return _answer(
        "200 OK",
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "scripted",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        },
    )


_COMPLETIONS: Final = [_completion(said) for said in range(CALLS)]
_TAKEN: Final = _answer("200 OK", {})
_REFUSED: Final = _answer("400 Bad Request", {"error": {"message": "this server does not stream", "type": "refused"}})


class Model:
    """What all connections share."""

    def __init__(self) -> None:
        self.held: list[Exchange] = []

    def answer(self, exchange: "Exchange", head: bytes, body: bytes) -> bytes | None:
        if head.startswith(b"GET /held"):
            return _answer("200 OK", {"held": len(self.held)})
        if head.startswith(b"POST /release"):
            held, self.held = self.held, []
            for one in held:
                one.say(_COMPLETIONS[-1])
            return _answer("200 OK", {"released": len(held)})
        if not head.startswith(_ASKED):
            return _TAKEN
        if _STREAM.search(body):
            return _REFUSED
        if HOLD.encode() in body:
            self.held.append(exchange)
            return None
        return _COMPLETIONS[min(len(_SAID.findall(body)), CALLS - 1)]


class Exchange(asyncio.Protocol):
    """One connection; its client waits for an answer before it asks again."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's are no subclass of it

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 asyncio's signature
        if self in self._model.held:
            self._model.held.remove(self)

    def say(self, answer: bytes) -> None:
        self._transport.write(answer)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(_HEAD_END)) >= 0:
            head = self._received[:end]
            length = _LENGTH.search(head)
            whole = end + len(_HEAD_END) + (int(length[1]) if length else 0)
            if len(self._received) < whole:
                return
            body, self._received = self._received[end:whole], self._received[whole:]
            answer = self._model.answer(self, head, body)
            if answer is not None:
                self.say(answer)


async def start(stage: Stage) -> str:
    """A server of the stage's own: its base URL, without the /v1."""
    program = await stage.start("model", [stage.means.python, "-m", __name__], stdout=True)
    said = await program.process.stdout.readline() if program.process.stdout else b""
    if not said:
        raise BenchError(f"the model server did not start: {program.last_lines()}")
    return f"http://127.0.0.1:{int(said)}"


async def held(url: str) -> int:
    """How many calls wait for `release`."""
    async with httpx.AsyncClient(trust_env=False) as client:
        return int((await client.get(f"{url}/held")).json()["held"])


async def _serve() -> None:
    model = Model()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Exchange(model), "127.0.0.1", 0, backlog=2048)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
