"""Every metric, declared once. docs/metrics.md says how to read them.

Two kinds. A process observes what it sees itself (requests, calls, waits); several processes on a host share their
counts through PROMETHEUS_MULTIPROC_DIR, a directory that this module joins when it is imported (monitoring/sharing.py).
And the store counts what happens to tasks, in the script that makes it happen (`STORED`): such a count is exact
whichever process dies, and the same on every gateway.

Labels are bounded: route templates, statuses, codes, and names out of configuration (model, agent, tool, caller). Never
a path, an id, or what somebody wrote.
"""

from dataclasses import dataclass
from typing import Literal

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

from monitoring import sharing

SHARED, UNSHARED_BECAUSE = sharing.join()
"""Where this process adds its counts to those of its siblings. None when it counts for itself, and why, if it is not
meant to.
"""
MULTIPROC_DIR = sharing.MULTIPROC_DIR

UNMATCHED = "unmatched"
"""The `endpoint` of requests that no route takes: one label for all, whatever the path."""
UNKNOWN = "unknown"
"""In the place of a name that is in no configuration, such as a tool that a model made up."""

# `_created` series double the page and tell what a restart already shows
disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped


Observed = Counter | Gauge | Histogram

REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
MODEL_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 12, 20, 30, 60, 120, 300, 600)
CALL_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)

# -- a gateway's

REQUESTS = Counter(
    "agent_requests_total",
    "HTTP requests by route template, status and kind (submit, chat, poll, wait, stream, act, probe, other).",
    ["endpoint", "status", "kind"],
)
REQUEST_DURATION = Histogram(
    "agent_request_duration_seconds",
    "Time from a request's head to the end of its answer, waits included. model: of the task that it submitted.",
    ["endpoint", "kind", "model"],
    buckets=REQUEST_SECONDS,
)
PROBLEMS = Counter(
    "agent_problems_total", "Requests that were answered with a problem, by its code.", ["code", "endpoint"]
)
TASKS_ENQUEUED = Counter("agent_tasks_enqueued_total", "Tasks that were written to the queue.")
STREAMS = Gauge("agent_event_streams", "Event streams that are open.", multiprocess_mode="livesum")
STREAMS_ENDED = Counter(
    "agent_event_streams_ended_total",
    "Event streams that ended, by reason: result, left (the client), stalled (it took nothing), shutdown, gone.",
    ["reason"],
)

# -- a worker's

TASK_WAIT = Histogram(
    "agent_task_wait_seconds",
    "From when a task could have run to an attempt's begin, by model and lane (interactive, batch, quarantine).",
    ["model", "lane"],
    buckets=MODEL_SECONDS,
)
TASK_RUN = Histogram(
    "agent_task_run_seconds",
    "Length of an attempt, by how it ended (success, fail, retry, bury, release, cancelled, suspend, lost).",
    ["model", "agent", "outcome"],
    buckets=MODEL_SECONDS,
)
FIRST_TOKEN = Histogram(
    "agent_time_to_first_token_seconds",
    "From a streamed model call's begin to its first token.",
    ["model"],
    buckets=MODEL_SECONDS,
)
MODEL_CALLS = Counter(
    "agent_model_calls_total",
    "Model calls that ended, by registry key and error code ('' for an answer).",
    ["model", "error_code"],
)
MODEL_CALL_SECONDS = Histogram(
    "agent_model_call_seconds", "Length of a model call that was answered.", ["model"], buckets=MODEL_SECONDS
)
TOOL_CALLS = Counter(
    "agent_tool_calls_total", "Tool calls that ended, by tool and outcome (ok, error).", ["tool", "outcome"]
)
TOOL_CALL_SECONDS = Histogram("agent_tool_call_seconds", "Length of a tool call.", ["tool"], buckets=MODEL_SECONDS)
CANCEL_SECONDS = Histogram(
    "agent_cancel_seconds", "From the request to cancel a running task to its end.", buckets=MODEL_SECONDS
)
LEASES_LOST = Counter("agent_leases_lost_total", "Attempts that this worker gave up because its lease was gone.")
LATE_WRITES = Counter(
    "agent_late_writes_refused_total", "Writes that the store refused because the task was another's by then.", ["verb"]
)
SLOTS = Gauge(
    "agent_worker_slots", "Slots of the living workers, by state (used, free).", ["state"], multiprocess_mode="livesum"
)

# -- of both

LOOP_LAG = Gauge(
    "agent_event_loop_lag_seconds",
    "How late the slowest event loop of this host ran in the last quarter of a minute.",
    ["role"],
    multiprocess_mode="livemax",
)
REDIS_SECONDS = Histogram(
    "agent_redis_call_seconds", "Round trips to Redis, by the store's verb.", ["verb"], buckets=CALL_SECONDS
)
REDIS_ERRORS = Counter("agent_redis_errors_total", "Round trips to Redis that failed, by the store's verb.", ["verb"])
TRACES = Counter(
    "agent_trace_exports_total",
    "Batches of spans that were sent, by backend and outcome (ok, failed).",
    ["backend", "outcome"],
)
SPANS_DROPPED = Counter("agent_trace_spans_dropped_total", "Spans that were never sent, by backend.", ["backend"])
MEMORY = Gauge(
    "agent_process_memory_bytes", "Resident memory of the living processes.", ["role"], multiprocess_mode="livesum"
)
CPU = Counter("agent_process_cpu_seconds_total", "Processor time of the processes.", ["role"])
BUILD = Gauge("agent_build_info", "1; the labels say what runs.", ["version", "python"], multiprocess_mode="livemax")

# Which page shows what: both kinds of process declare all of it.
OF_GATEWAYS: tuple[Observed, ...] = (REQUESTS, REQUEST_DURATION, PROBLEMS, TASKS_ENQUEUED, STREAMS, STREAMS_ENDED)
OF_WORKERS: tuple[Observed, ...] = (
    TASK_WAIT, TASK_RUN, FIRST_TOKEN, MODEL_CALLS, MODEL_CALL_SECONDS, TOOL_CALLS, TOOL_CALL_SECONDS, CANCEL_SECONDS,
    LEASES_LOST, LATE_WRITES, SLOTS,
)  # fmt: skip
OF_BOTH: tuple[Observed, ...] = (
    LOOP_LAG, REDIS_SECONDS, REDIS_ERRORS, TRACES, SPANS_DROPPED, MEMORY, CPU, BUILD,
)  # fmt: skip

# -- what the store counts: read at the page, from Redis


@dataclass(frozen=True, slots=True)
class Stored:
    """A metric whose value is in Redis. Every gateway shows the same: take `max`, not `sum`, over instances."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...] = ()


STORED = (
    Stored(
        "agent_tasks_submitted_total",
        "counter",
        "Tasks that were submitted.",
        ("caller", "agent", "model", "lane"),
    ),
    Stored(
        "agent_tasks_finished_total",
        "counter",
        "Tasks that reached a final status; error_code '' for success.",
        ("caller", "agent", "model", "status", "error_code"),
    ),
    Stored("agent_attempts_total", "counter", "Attempts that were begun.", ("agent", "model")),
    Stored(
        "agent_retries_total",
        "counter",
        "Attempts that failed in passing and are followed by another, by error code.",
        ("agent", "model", "error_code"),
    ),
    Stored(
        "agent_rescues_total",
        "counter",
        "Tasks taken from a worker whose lease had ended, by cause: worker_lost (charged), lost_claim (free).",
        ("cause",),
    ),
    Stored(
        "agent_releases_total",
        "counter",
        "Attempts that were given back unspent: released (worker stops), handed_on (another has the agent).",
        ("cause",),
    ),
    Stored(
        "agent_replays_total", "counter", "Failed tasks that were given new attempts, by order.", ("agent", "model")
    ),
    Stored(
        "agent_dead_letters_total",
        "counter",
        "Tasks that were buried, by error code.",
        ("agent", "model", "error_code"),
    ),
    Stored(
        "agent_tokens_total",
        "counter",
        "Tokens that models were paid for; direction: prompt, completion.",
        ("caller", "agent", "model", "direction"),
    ),
    Stored(
        "agent_cost_usd_total",
        "counter",
        "USD that model calls cost; what has no known price is not in it.",
        ("caller", "agent", "model"),
    ),
    Stored("agent_unpriced_answers_total", "counter", "Attempts with an answer whose price is unknown.", ("model",)),
    Stored(
        "agent_queue_depth",
        "gauge",
        "Tasks that are ready to run, by model and lane (interactive, batch, quarantine).",
        ("model", "lane"),
    ),
    Stored(
        "agent_queue_oldest_age_seconds",
        "gauge",
        "How long the first task of a lane has been ready; 0 when it is empty, and for those of a paused agent.",
        ("model", "lane"),
    ),
    Stored("agent_tasks_running", "gauge", "Tasks that run.", ("model", "lane")),
    Stored("agent_tasks_scheduled", "gauge", "Tasks that are due later: run_at or a retry's backoff."),
    Stored("agent_tasks_blocked", "gauge", "Tasks behind another one of their session.", ("caller",)),
    Stored("agent_tasks_waiting", "gauge", "Tasks that wait for a person's decision."),
    Stored("agent_dead_letters", "gauge", "Dead letters that are kept."),
    Stored(
        "agent_sessions",
        "gauge",
        "Sessions that are remembered, by state (active: a task of it is live; idle).",
        ("state",),
    ),
    Stored(
        "agent_workers",
        "gauge",
        "Workers that were heard of in the last seconds, by kind (ordinary, quarantine).",
        ("kind",),
    ),
    Stored("agent_slots", "gauge", "Slots of the ordinary workers of the whole deployment."),
    Stored(
        "agent_model_cooling",
        "gauge",
        "1 while no task is started on the model, or only one to try it, because it fails.",
        ("model",),
    ),
    Stored("agent_paused", "gauge", "1 while tasks of the model or agent are not started, by order.", ("kind", "name")),
    Stored("agent_redis_up", "gauge", "1 when Redis answered for this page."),
    Stored("agent_redis_memory_bytes", "gauge", "Memory of Redis, by kind (used, max; max 0 is no limit).", ("kind",)),
    Stored(
        "agent_redis_persistence_ok",
        "gauge",
        "1 when the last write and rewrite of the append-only file and the last snapshot went well.",
    ),
)
