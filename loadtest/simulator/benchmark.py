"""How many calls a second the simulator serves: `python -m loadtest.simulator.benchmark`.

The simulator and a bare ASGI application run on the same server in a process each, and are driven in turn, round by
round, over keep-alive connections. It prints calls a second, the server's processor time a call, and the simulator's
share of what the bare application serves. Machines are noisy: compare figures of one run with each other.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import orjson
import psutil
import uvloop

_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"The {name} tool of an agent, described in a sentence as long as such sentences are.",
            "parameters": {"type": "object", "properties": {key: {"type": "string"}}, "required": [key]},
        },
    }
    for name, key in (("calculator", "expression"), ("get_time", "timezone"), ("search", "query"))
]
_AGENT = [
    {"role": "system", "content": "You are a helpful assistant. Use the tools that you are given. " * 5},
    {"role": "user", "content": "Compute (123 * 456 + 789) / 3"},
]
CASES: dict[str, dict[str, object]] = {
    "one sentence": {"messages": [{"role": "user", "content": "Hello"}]},
    "an agent's call": {"messages": _AGENT, "tools": _TOOLS},
    "streamed": {"messages": _AGENT[1:], "stream": True, "stream_options": {"include_usage": True}},
}


PATIENCE_SECONDS = 60.0


@dataclass
class Round:
    """Calls a second, and microseconds of the server's processor time a call."""

    rate: float
    cpu_us: float


class Caller(asyncio.Protocol):
    """One connection that sends the same request again as soon as the answer is complete."""

    def __init__(self, request: bytes) -> None:
        self.answers = 0
        self.closed = False
        self._request = request
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        transport = self._transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the server answers {self._buffer[:200]!r}")
        at = head.find(b"content-length: ")
        length = None if at < 0 else int(head[at + 16 :].split(b"\r\n", 1)[0])
        done = body.endswith(b"0\r\n\r\n") if length is None else len(body) >= length
        if done:
            self._buffer = b""
            self.answers += 1
            self._transport.write(self._request)

    def connection_lost(self, _error: Exception | None) -> None:
        self.closed = True

    def close(self) -> None:
        self._transport.abort()


@contextmanager
def served(*command: str) -> Iterator[tuple[int, psutil.Process]]:
    """A server process that names its port in its first line; ended with the block."""
    process = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None  # noqa: S101 as asked for above
        line = process.stdout.readline()
        port = int(line.partition("http://127.0.0.1:")[2].partition("/")[0])
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.communicate()


def request(case: dict[str, object]) -> bytes:
    body = orjson.dumps({"model": "simulator", **case})
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        b"authorization: Bearer none\r\ncontent-length: %d\r\n\r\n" % len(body)
    ) + body


async def drive(port: int, server: psutil.Process, sent: bytes, connections: int, seconds: float) -> Round:
    loop = asyncio.get_running_loop()
    callers = [(await loop.create_connection(lambda: Caller(sent), "127.0.0.1", port))[1] for _ in range(connections)]
    await asyncio.sleep(seconds / 5)
    before, cpu, began = sum(caller.answers for caller in callers), _cpu(server), loop.time()
    answers = 0
    # a machine that has no time for us just now makes a round longer, but not empty
    while not answers and loop.time() - began < seconds + PATIENCE_SECONDS:
        await asyncio.sleep(seconds)
        answers = sum(caller.answers for caller in callers) - before
    took, cpu = loop.time() - began, _cpu(server) - cpu
    lost = sum(caller.closed for caller in callers)
    for caller in callers:
        caller.close()
    if lost or not answers:
        raise RuntimeError(f"{lost} of {connections} connections were lost, {answers} calls were answered")
    return Round(answers / took, cpu / answers * 1e6)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def measure(rounds: int, seconds: float, connections: int) -> None:
    with served("loadtest.simulator", "--port", "0") as simulator, served("loadtest.simulator.bare") as bare:
        for name, case in CASES.items():
            sent = request(case)
            pairs = [
                (
                    await drive(*bare, sent, connections, seconds),
                    await drive(*simulator, sent, connections, seconds),
                )
                for _ in range(rounds)
            ]
            print_case(name, pairs)


def print_case(name: str, pairs: list[tuple[Round, Round]]) -> None:
    ratios = sorted(simulator.rate / bare.rate for bare, simulator in pairs)
    cpu = sorted(bare.cpu_us / simulator.cpu_us for bare, simulator in pairs)
    for label, index in (("bare", 0), ("simulator", 1)):
        rate = statistics.median(pair[index].rate for pair in pairs)
        spent = statistics.median(pair[index].cpu_us for pair in pairs)
        sys.stdout.write(f"{name:<16} {label:<10} {rate:8,.0f} calls/s {spent:7.0f} us of processor a call\n")
    sys.stdout.write(
        f"{name:<16} ratio      {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) by rate, "
        f"{statistics.median(cpu):.2f} ({cpu[0]:.2f} to {cpu[-1]:.2f}) by processor time\n"
    )
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtest.simulator.benchmark", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each case (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a round (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=32, help="calls at once (default: %(default)s)")
    options = parser.parse_args()
    uvloop.run(measure(options.rounds, options.seconds, options.connections))
    return 0


if __name__ == "__main__":
    sys.exit(main())
