"""What streaming costs: `python -m tests.benchmarks.streaming`. Real processes: Redis, simulator, gateway, one worker.

Prints the time to the first token through Longhaul and at the simulator itself, turn by turn in one run, and what the
former is more; and the worker's processor time for the same answers streamed and unstreamed. Machines are noisy:
compare figures of one run with each other.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil

from core_config import ROOT
from tests.conftest import RedisServer, free_port

WARM_UP, TURNS, RUNS, TOKENS = 5, 100, 20, 200
QUICK = "[[tokens=20]] hello"
LONG = f"[[tokens={TOKENS}]] hello"


@contextmanager
def system(folder: Path) -> Iterator[tuple[httpx.Client, httpx.Client, psutil.Process]]:
    """Clients of a gateway and of the simulator, and the worker's process."""
    server = RedisServer(folder)
    server.start()
    gateway, simulator = free_port(), free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "REDIS_URL": server.url,
        "GATEWAY_PORT": str(gateway),
        "SIMULATOR_PORT": str(simulator),
        "ACTIVE_MODEL_KEY": "Simulator",
        "LOG_LEVEL": "WARNING",
    }
    with ExitStack() as stack:
        stack.callback(server.kill)
        processes = []
        for command in (["loadtest.simulator", "--port", str(simulator)], ["gateway"], ["worker"]):
            process = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
            )
            stack.callback(process.wait, 40)
            stack.callback(process.terminate)
            processes.append(process)
        clients = [
            stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60))
            for port in (gateway, simulator)
        ]
        until = time.monotonic() + 120
        while True:
            try:
                if clients[0].get("/ready").status_code == 200:
                    break
            except httpx.TransportError:
                pass  # not listening yet
            assert time.monotonic() < until, "the system did not become ready"
            time.sleep(0.1)
        yield clients[0], clients[1], psutil.Process(processes[2].pid)


def first_token_ms(client: httpx.Client, path: str, body: dict[str, object], mark: str) -> float:
    """Milliseconds from before the request until the first line that holds `mark`. The rest is read too."""
    began, first = time.perf_counter(), None
    with client.stream("POST", path, json=body) as answer:
        assert answer.status_code == 200, answer.read()
        for line in answer.iter_lines():
            if first is None and mark in line:
                first = time.perf_counter()
    assert first is not None, f"no {mark} came"
    return (first - began) * 1000


def through(gateway: httpx.Client) -> float:
    return first_token_ms(gateway, "/chat/stream", {"message": QUICK}, "event: token")


def direct(simulator: httpx.Client) -> float:
    asked = [{"role": "user", "content": QUICK}]
    body = {"model": "simulator", "stream": True, "messages": asked}
    return first_token_ms(simulator, "/v1/chat/completions", body, '"content":"["')


def processor_ms(gateway: httpx.Client, worker: psutil.Process, *, stream: bool) -> float:
    """Of the worker, for one task that is alone."""

    def spent() -> float:
        times = worker.cpu_times()
        return float(times.user + times.system)

    before = spent()
    for _ in range(RUNS):
        answer = gateway.post("/task", json={"message": LONG, "stream": stream})
        task = gateway.get(f"/task/{answer.json()['task_id']}", params={"wait": 60}).json()
        assert task["status"] == "success", task
    return (spent() - before) * 1000 / RUNS


def quantiles(values: list[float]) -> str:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return f"p50 {cuts[49]:6.1f} ms   p99 {cuts[98]:6.1f} ms"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, system(Path(folder)) as (gateway, simulator, worker):
        pairs = [(through(gateway), direct(simulator)) for _ in range(WARM_UP + TURNS)][WARM_UP:]
        print(f"time to the first token, {TURNS} turns, one at a time")
        print("  through Longhaul     ", quantiles([one for one, _ in pairs]))
        print("  at the simulator     ", quantiles([one for _, one in pairs]))
        print("  more through Longhaul", quantiles([one - other for one, other in pairs]))
        processor_ms(gateway, worker, stream=True)
        rounds = [
            (processor_ms(gateway, worker, stream=False), processor_ms(gateway, worker, stream=True)) for _ in range(3)
        ]
        plain, streamed = (statistics.median(one) for one in zip(*rounds, strict=True))
        print(f"the worker's processor time for an answer of {TOKENS} tokens")
        print(f"  unstreamed {plain:.1f} ms, streamed {streamed:.1f} ms: {streamed / plain:.1f} times as much")


if __name__ == "__main__":
    main()
