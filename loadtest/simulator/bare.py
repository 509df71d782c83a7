"""The floor of the benchmark: an ASGI application that reads the body and answers with fixed bytes."""

import socket

from loadtest.simulator.exchange import JSON, Receive, Scope, Send
from loadtest.simulator.serving import serve

_BODY = b'{"id": "none", "object": "chat.completion", "choices": []}'
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [JSON, (b"content-length", str(len(_BODY)).encode())],
}


async def answer(_scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body", False):
        pass
    await send(_START)
    await send({"type": "http.response.body", "body": _BODY})


if __name__ == "__main__":
    serve(answer, socket.create_server(("127.0.0.1", 0), backlog=2048), "bare application listening on")
