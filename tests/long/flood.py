"""A client process that sends the same submit on many connections at once. Run as a program: lines of JSON tell it to
on its standard input, `{"key", "body", "times"}`, and answers each with `{"answers": [[status, task id], ...]}`.

    python -m tests.long.flood HOST PORT CONNECTIONS

HTTP by hand: a client library would take more of the machine than the gateway that is measured.
"""

import asyncio
import json
import sys
from dataclasses import dataclass


@dataclass
class Connection:
    """One keep-alive connection; a failure of any kind is an answer with the status 0."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    host: str

    async def submit(self, key: str, body: str) -> tuple[int, str]:
        content = body.encode()
        head = (
            f"POST /task HTTP/1.1\r\nhost: {self.host}\r\ncontent-type: application/json\r\n"
            f"idempotency-key: {key}\r\ncontent-length: {len(content)}\r\n\r\n"
        )
        try:
            self.writer.write(head.encode() + content)
            answer = await self.reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in answer.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            )
            said = json.loads(await self.reader.readexactly(length))
        except (OSError, EOFError, StopIteration, ValueError) as error:
            return 0, repr(error)
        return int(answer.split(b" ", 2)[1]), said.get("task_id") or said.get("code", "")


async def main() -> None:
    host, port, connections = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    opened = [Connection(*await asyncio.open_connection(host, port), f"{host}:{port}") for _ in range(connections)]
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        told = json.loads(line)
        answers = await asyncio.gather(
            *(connection.submit(told["key"], told["body"]) for connection in opened[: told["times"]])
        )
        sys.stdout.write(json.dumps({"answers": answers}) + "\n")
        sys.stdout.flush()
    for connection in opened:
        connection.writer.close()


if __name__ == "__main__":
    asyncio.run(main())
