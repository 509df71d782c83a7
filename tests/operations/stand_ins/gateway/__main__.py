"""A program in the gateway's place: serves the socket that it was handed, and says who it is.

`/slow` takes a second, so that a stop can come in the middle. SIGTERM lets answers finish.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import sys


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    path = (await reader.readline()).split()[1].decode()
    while (await reader.readline()).strip():
        pass
    if path == "/slow":
        await asyncio.sleep(1)
    status = b"503 No" if path == "/ready" and os.environ.get("GATEWAY_IS_NOT_READY") else b"200 OK"
    body = json.dumps({"pid": os.getpid(), "environment": dict(os.environ)}).encode()
    writer.write(b"HTTP/1.1 %s\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body)
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def serve(descriptor: int) -> None:
    running: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(answer(reader, writer))
        running.add(task)
        task.add_done_callback(running.discard)
        await task

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.start_server(accept, sock=socket.socket(fileno=descriptor))
    await stop.wait()
    server.close()
    await asyncio.gather(*running)


sys.stderr.write("the stand-in gateway speaks\n")
if os.environ.get("GATEWAY_BREAKS"):
    sys.exit("the stand-in gateway breaks, as it was told to")
parser = argparse.ArgumentParser()
parser.add_argument("--fd", type=int, required=True)
asyncio.run(serve(parser.parse_args().fd))
