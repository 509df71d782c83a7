"""The workers' page: what it answers, who has its port, and what stays when one dies. Real processes, real HTTP."""

import contextlib
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.conftest import free_port
from worker.metrics_server import MOST_AT_ONCE

from .conftest import CountingProcess, StartCounting, samples_of

LOST = ("agent_leases_lost_total",)


def answer(port: int, method: str = "GET", path: str = "/metrics") -> tuple[int, dict[str, str], str]:
    """Status, headers and body. Raises OSError when nobody answers."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as said:
            return said.status, dict(said.headers), said.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read().decode()


def lost(port: int) -> float | None:
    """The counter on the page; None while nobody answers."""
    with contextlib.suppress(OSError):
        return samples_of(answer(port)[2])[LOST]
    return None


def until(holds: Callable[[], bool], about: CountingProcess) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, about.said()
        time.sleep(0.02)


def test_the_page(start_counting: StartCounting):
    port, worker = free_port(), start_counting()
    worker.ask("count", "/x", 3)
    worker.ask("serve", port)
    until(lambda: lost(port) == 3, worker)
    status, headers, text = answer(port)
    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=1.0.0; charset=utf-8"
    assert (headers["Cache-Control"], headers["Server"]) == ("no-store", "longhaul")
    assert "# TYPE agent_task_run_seconds histogram" in text
    assert "agent_requests" not in text
    assert answer(port, path="/metrics?x=1")[0] == 200
    status, headers, text = answer(port, "HEAD")
    assert (status, text) == (200, "")
    assert int(headers["Content-Length"]) > 1000
    for path in ("/", "/metrics/", "/../../etc/passwd", "/metrics/../run.json"):
        assert answer(port, path=path)[0] == 404
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "NONSENSE"):
        status, headers, _ = answer(port, method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_counts_that_cannot_be_read_are_an_error_and_no_empty_page(start_counting: StartCounting, tmp_path: Path):
    port, worker = free_port(), start_counting()
    worker.ask("serve", port)
    until(lambda: lost(port) == 0, worker)
    shutil.rmtree(tmp_path / "counts")
    status, _, text = answer(port)
    assert (status, "agent_" in text) == (500, False)
    until(lambda: "metrics_unread" in worker.said(), worker)


def test_another_worker_takes_the_page_over_and_the_counts_of_the_dead_stay(start_counting: StartCounting):
    port, first, second = free_port(), start_counting(), start_counting()
    first.ask("count", "/x", 3)
    first.ask("serve", port)
    until(lambda: lost(port) == 3, first)
    second.ask("count", "/x", 40)
    second.ask("serve", port)
    until(lambda: "metrics_port_taken" in second.said(), second)
    assert "WARNING" not in second.said()
    first.kill()
    until(lambda: lost(port) == 43, second)


def test_a_port_that_somebody_else_has_is_a_warning_with_its_remedy(start_counting: StartCounting):
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        worker = start_counting()
        worker.ask("serve", port)
        until(lambda: "metrics_port_taken" in worker.said(), worker)
        assert worker.ask("count", "/x", 1) == "done"
    until(lambda: lost(port) == 1, worker)  # it is free now
    assert worker.said().count("metrics_port_taken") == 1, "told once, however often it tries"


def test_clients_that_say_nothing_take_the_page_from_nobody_for_long(start_counting: StartCounting):
    port, worker = free_port(), start_counting()
    worker.ask("serve", port)
    until(lambda: lost(port) == 0, worker)
    threads = [int(worker.ask("threads"))]
    silent = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(20)]

    def served() -> bool:
        threads.append(int(worker.ask("threads")))
        return lost(port) == 0

    until(served, worker)
    threads.append(int(worker.ask("threads")))
    assert max(threads) <= threads[0] + MOST_AT_ONCE + 1, "a thread each, and no more than these"
    for connection in silent:
        connection.close()
