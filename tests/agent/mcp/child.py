"""An MCP server for tests, over stdio and with the standard library alone, that misbehaves on demand.

    python child.py [option ...]

Options: `exit=3` (ends at once), `silent` (never answers), `greets` (prints a banner first), `stubborn` (ignores the
end of stdin and SIGTERM), `pid=FILE` (adds its process id to the file), `bye=FILE` (makes it when stdin ends),
`tools=N` (so many more tools), `schema=N` (so long a schema of one).
"""

import json
import os
import pathlib
import signal
import sys
import threading
import time

OPTIONS = dict(option.partition("=")[::2] for option in sys.argv[1:])
EMPTY = {"type": "object", "properties": {}}
TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
CONFIG = {"type": "object", "properties": {n: {"type": "string"} for n in ("config", "run_manager", "self", "runtime")}}
TOOLS = {
    "echo": TEXT,
    "arguments": CONFIG,
    "environment": EMPTY,
    "die": EMPTY,
    "hang": EMPTY,
    "long": EMPTY,
    "wrong": EMPTY,
    "errors": TEXT,
    "garbage": EMPTY,
    "huge": EMPTY,
    "pictures": EMPTY,
    "cancelled": EMPTY,
    "odd.name/1": EMPTY,
}
TOOLS |= {f"more{n}": EMPTY for n in range(int(OPTIONS.get("tools", 0)))}
if "schema" in OPTIONS:
    TOOLS = {"wide": {"type": "object", "description": "x" * int(OPTIONS["schema"])}}
CANCELLED: list[object] = []


def send(message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def text(words: str, **more: object) -> dict[str, object]:
    return {"content": [{"type": "text", "text": words}], **more}


def called(name: str, arguments: dict[str, str]) -> dict[str, object] | None:
    match name:
        case "echo":
            return text(arguments["text"])
        case "arguments":
            return text(json.dumps(arguments, sort_keys=True))
        case "environment":
            return text(json.dumps(dict(os.environ)))
        case "die":
            os._exit(3)
        case "hang":
            return None
        case "long":
            return text("x" * 100_000)
        case "wrong":
            return {"content": "not a list"}
        case "errors":
            sys.stderr.write(arguments["text"] + "\n")
            return text("The shelf is empty. " + arguments["text"], isError=True)
        case "garbage":
            sys.stdout.buffer.write(b'Loading...\n\xff\xfe\n{\n[1, 2\n{}\n\n"a"\n' + b"y" * 5_000_000 + b"\n")
            return text("after the garbage")
        case "huge":
            return text("x" * 5_000_000)
        case "pictures":
            blob = {"uri": "file:///a.pdf", "mimeType": "application/pdf", "blob": "AAAA"}
            return {
                "content": [
                    {"type": "text", "text": "Two pictures:"},
                    {"type": "image", "data": "AAAAAAAA", "mimeType": "image/png"},
                    {"type": "audio", "data": "AAAA", "mimeType": "audio/wav"},
                    {"type": "resource", "resource": blob},
                    {"type": "resource", "resource": {"uri": "file:///a.txt", "text": "The text of a file."}},
                    {"type": "resource_link", "name": "b", "uri": "file:///b.txt"},
                ]
            }
        case "cancelled":
            return text(json.dumps(CANCELLED))
    return text(f"{name} was called")


def answer(message: dict[str, object]) -> None:
    params = message.get("params") or {}
    assert isinstance(params, dict)
    if message.get("method") == "notifications/cancelled":
        CANCELLED.append(params["requestId"])
    if "id" not in message:
        return
    result: dict[str, object] | None
    match message["method"]:
        case "initialize":
            who = {"name": "child", "version": "1"}
            result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": who}
        case "tools/list":  # a page each three
            at = int(params.get("cursor") or 0)
            names = list(TOOLS)
            result = {
                "tools": [{"name": n, "description": n * 1000, "inputSchema": TOOLS[n]} for n in names[at : at + 3]]
            }
            if at + 3 < len(names):
                result["nextCursor"] = str(at + 3)
        case "tools/call" if params["name"] in TOOLS:
            result = called(params["name"], params.get("arguments") or {})
        case _:
            send({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "Method not found"}})
            return
    if result is not None:
        send({"jsonrpc": "2.0", "id": message["id"], "result": result})


def main() -> None:
    if "pid" in OPTIONS:
        with pathlib.Path(OPTIONS["pid"]).open("a") as file:
            file.write(f"{os.getpid()}\n")
    if "exit" in OPTIONS:
        sys.stderr.write("cannot start: TOKEN is missing\n")
        sys.exit(int(OPTIONS["exit"]))
    if "greets" in OPTIONS:
        sys.stdout.write("Welcome to the server!\n")
    if "silent" in OPTIONS:
        time.sleep(600)
    if "stubborn" in OPTIONS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin:
        answer(json.loads(line))
    if "bye" in OPTIONS:
        pathlib.Path(OPTIONS["bye"]).touch()
    if "stubborn" in OPTIONS:
        threading.Event().wait(600)


main()
