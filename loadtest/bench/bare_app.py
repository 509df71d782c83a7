"""The floor of the HTTP rows: uvicorn and one Redis round trip a request, and FastAPI with nothing in it.

    python -m loadtest.bench.bare_app redis COMMANDS      an ASGI app that sends what Longhaul's gateway sends
    python -m loadtest.bench.bare_app fastapi             routes of FastAPI's that do nothing

COMMANDS is a JSON file: `redis` is the address; `submit` and `read` are commands with ID and MESSAGE where the task's
id and message stand. Both serve `POST /task` and `GET /task/{id}`, on one process, with uvloop and httptools, and print
their port.
"""

import json
import socket
import sys
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, Final

import fastapi
import orjson
import uvicorn
from pydantic import BaseModel
from redis.asyncio import Redis

ID: Final = "\x00id\x00"
MESSAGE: Final = "\x00message\x00"

_JSON: Final = (b"content-type", b"application/json")

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


def redis_app(commands: Path) -> App:
    told = json.loads(commands.read_text())
    redis = Redis.from_url(told["redis"], decode_responses=True)
    submitting, reading = told["submit"], told["read"]

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] == "POST":
            body = b""
            more = True
            while more:
                part = await receive()
                body += part.get("body", b"")
                more = part.get("more_body", False)
            given = {ID: uuid.uuid4().hex, MESSAGE: orjson.loads(body)["message"]}
            answer = await redis.execute_command(*(given.get(one, one) for one in submitting))
            found = {"task_id": answer[1], "status": answer[2], "created_at": answer[3]}
        else:
            given = {ID: scope["path"].rpartition("/")[2]}
            answer = await redis.execute_command(*(given.get(one, one) for one in reading))
            flat = answer[1]
            found = dict(zip(flat[::2], flat[1::2], strict=True))
        payload = orjson.dumps(found)
        head = [_JSON, (b"content-length", str(len(payload)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": payload})

    return app


class Body(BaseModel):
    message: str
    agent: str = "default"


class Accepted(BaseModel):
    task_id: str
    status: str


def fastapi_app() -> App:
    app = fastapi.FastAPI()

    @app.post("/task")
    async def submit(body: Body) -> Accepted:
        return Accepted(task_id="0", status="pending" if body.message else "")

    @app.get("/task/{task_id}")
    async def read(task_id: str) -> Accepted:
        return Accepted(task_id=task_id, status="success")

    return app


def main() -> None:
    app = redis_app(Path(sys.argv[2])) if sys.argv[1] == "redis" else fastapi_app()
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(app, loop="uvloop", http="httptools", ws="none", lifespan="off", access_log=False)
    uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    main()
