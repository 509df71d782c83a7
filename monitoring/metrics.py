"""Every metric, declared once. Labels hold route templates and statuses, never a path, an id or a name of a caller.

With several gateway processes each counts its own requests: PROMETHEUS_MULTIPROC_DIR (a directory, set before this
module is imported and emptied at each start) makes them share their counts.
"""

import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

MULTIPROC_DIR = "PROMETHEUS_MULTIPROC_DIR"

UNMATCHED = "unmatched"
"""The `endpoint` of requests that no route takes: one label for all, whatever the path."""

# `_created` series double the page and tell what a restart already shows
disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped

REQUESTS = Counter("agent_requests_total", "HTTP requests by route template and status.", ["endpoint", "status"])
REQUEST_DURATION = Histogram(
    "agent_request_duration_seconds",
    "Time from a request's head to the end of its answer, waits included.",
    ["endpoint"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
TASKS_ENQUEUED = Counter("agent_tasks_enqueued_total", "Tasks that were written to the queue.")
STREAMS_ENDED = Counter(
    "agent_event_streams_ended_total",
    "Event streams that ended, by reason: result, left (the client), stalled (it took nothing), shutdown, gone.",
    ["reason"],
)


def counts_are_shared() -> bool:
    """Whether this process adds its counts to those of its siblings."""
    return bool(os.environ.get(MULTIPROC_DIR))


def observe_request(endpoint: str, status: int, seconds: float) -> None:
    REQUESTS.labels(endpoint, str(status)).inc()
    REQUEST_DURATION.labels(endpoint).observe(seconds)


def page(processes: int = 1) -> tuple[bytes, str]:
    """The metrics as Prometheus reads them, and their content type. `processes` is how many serve beside this one."""
    registry = REGISTRY
    if counts_are_shared():
        registry = CollectorRegistry(support_collectors_without_names=True)
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
    text = generate_latest(registry)
    if processes > 1 and not counts_are_shared():
        text = f"# one of {processes} processes only: set {MULTIPROC_DIR} to count them together\n".encode() + text
    return text, CONTENT_TYPE_LATEST
