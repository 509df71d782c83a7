"""The figures of a run, while it goes and at its end, out of Locust's statistics."""

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

TASK = "task"
"""The kind of what is timed here and is no HTTP request: a task from its submit to its end, a first token."""
FINAL_NAME = "submit to final"
FIRST_TOKEN = "first token"  # noqa: S105 of an answer


def rows(stats: Any) -> list[dict[str, Any]]:
    """One for each kind of request and each timer: times in milliseconds, rates a second."""
    entries = sorted(stats.entries.values(), key=lambda entry: (entry.method == TASK, entry.name, entry.method))
    return [_row(entry) for entry in entries]


def _row(entry: Any) -> dict[str, Any]:
    quantiles = {f"p{share}_ms": entry.get_response_time_percentile(share / 100) or 0 for share in (50, 95, 99)}
    return {
        "kind": entry.method,
        "name": entry.name,
        "count": entry.num_requests,
        "failures": entry.num_failures,
        "rate": round(entry.total_rps, 3),
        **quantiles,
        "max_ms": round(entry.max_response_time, 1),
    }


def summary(environment: Any, began: float) -> dict[str, Any]:
    stats = environment.runner.stats
    failures = [
        {"kind": error.method, "name": error.name, "what": str(error.error), "count": error.occurrences}
        for error in stats.errors.values()
    ]
    crashes = [
        {"kind": "locust", "name": "a user of the Locust file", "what": told["msg"], "count": told["count"]}
        for told in environment.runner.exceptions.values()
    ]
    return {
        "host": environment.host,
        "seconds": round(time.monotonic() - began, 1),
        "rows": rows(stats),
        "failures": sorted(failures + crashes, key=lambda failure: -failure["count"]),
    }


def write_summary(path: str, figures: dict[str, Any]) -> None:
    partial = Path(f"{path}.partial")
    partial.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


class Progress:
    """A line every few seconds: rates since the last one, times and failures since the beginning."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self._began = self._last = time.monotonic()
        self._requests = self._tasks = 0

    def say(self) -> None:
        now = time.monotonic()
        entries = list(self._runner.stats.entries.values())
        finals = [entry for entry in entries if entry.method == TASK and entry.name.startswith(FINAL_NAME)]
        requests = sum(entry.num_requests for entry in entries if entry.method != TASK)
        tasks = sum(entry.num_requests for entry in finals)
        failures = sum(entry.num_failures for entry in entries)
        took, since = int(now - self._began), max(now - self._last, 1e-3)
        line = (
            f"{took // 60}:{took % 60:02d}  {self._runner.user_count} users"
            f"  {(requests - self._requests) / since:.1f} requests/s  {(tasks - self._tasks) / since:.1f} tasks/s"
            f"  submit p95 {_p95([entry for entry in entries if entry.method == 'POST' and entry.name == '/task'])}"
            f"  submit to final p95 {_p95(finals)}  {failures} failures"
        )
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
        self._last, self._requests, self._tasks = now, requests, tasks


def _p95(entries: list[Any]) -> str:
    times: Counter[int] = Counter()
    for entry in entries:
        times.update(entry.response_times)
    wanted, seen = 0.95 * times.total(), 0
    for milliseconds in sorted(times):
        seen += times[milliseconds]
        if seen >= wanted:
            return f"{milliseconds} ms"
    return "-"
