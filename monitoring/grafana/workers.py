"""Processes and Redis: are they there, are they busy, do they answer; and the hosts below them."""

from grafana_foundation_sdk.models.dashboard import Panel

from . import outside
from .board import Row, board
from .panels import GREEN, RED, YELLOW, Column, Query, figure, lines, percentiles, side_by_side, states
from .promql import highest, lowest, quantile, rate, share, stored, total

UP, DOWN = ("up", GREEN), ("down", RED)


def dashboard() -> str:
    return board(
        "longhaul-workers",
        "Longhaul / Workers and Redis",
        "Processes, Redis, traces and hosts.",
        Row(10, "Workers", _workers()),
        Row(20, "Processes", _processes()),
        Row(30, "Redis", _redis()),
        Row(40, "Redis, as its exporter sees it", outside.redis()),
        Row(50, "Traces", outside.traces()),
        Row(60, "Hosts, as the node exporter sees them", outside.hosts()),
    )


def _workers() -> list[Panel]:
    used = total("agent_worker_slots", 'state="used"')
    return [
        lines(
            11,
            "Workers by kind",
            "short",
            "Workers that Redis heard of in the last seconds. quarantine: a task runs alone after its second crash.",
            Query(highest("agent_workers", by="kind"), "{{kind}}"),
            see=(
                "NoWorker",
                "FewerWorkers",
            ),
        ),
        lines(
            12,
            "Slots by host",
            "short",
            "As the workers of each host count them, and the deployment's sum as Redis knows it.",
            Query(total("agent_worker_slots", by="instance, state"), "{{instance}} {{state}}"),
            Query(highest("agent_slots"), "all, as Redis knows"),
        ),
        lines(
            13,
            "Share of slots used",
            "percentunit",
            "At 1 with a queue: more WORKER_PROCESSES, or hosts. Low with a queue: a model holds its tasks back.",
            Query(share(used, total("agent_worker_slots")), "used"),
            limits=[(0.9, YELLOW)],
            top=1,
        ),
        lines(
            14,
            "Leases lost",
            "ops",
            "Attempts that a worker gave up because its lease was gone: it was silent for LEASE_SECONDS. Look at its "
            "event loop's lag and at Redis.",
            Query(rate("agent_leases_lost_total", by="instance"), "{{instance}}"),
            width=12,
            see=("LeasesLost",),
        ),
        lines(
            15,
            "Late writes refused, by verb",
            "ops",
            "Writes of workers that had lost their task; refused, so nothing was overwritten. They follow lost leases.",
            Query(rate("agent_late_writes_refused_total", by="verb"), "{{verb}}"),
            width=12,
            see=("LateWrites",),
        ),
    ]


def _processes() -> list[Panel]:
    lag = highest("agent_event_loop_lag_seconds", by="role, instance")
    return [
        states(
            21,
            "Targets",
            "Whether Prometheus reaches each. Red: it is down, or its address in the targets file is old.",
            Query(lowest("up", by="job, instance"), "{{job}} {{instance}}"),
            zero=DOWN,
            one=UP,
            see=(
                "TargetDown",
                "WorkerPageDown",
            ),
        ),
        lines(
            22,
            "Event loop lag",
            "s",
            "How late the slowest loop runs. Seconds: an agent's code or tool blocks it; LOOP_STALL_SECONDS later the "
            "worker loses its tasks.",
            Query(lag, "{{role}} {{instance}}"),
            limits=[(0.5, YELLOW), (1, RED)],
            see=("EventLoopLag",),
        ),
        lines(
            23,
            "Processor by role",
            "short",
            "Cores. A worker process can use one: at 1 a process, add processes.",
            Query(rate("agent_process_cpu_seconds_total", by="role, instance"), "{{role}} {{instance}}"),
        ),
        lines(
            24,
            "Memory by role",
            "bytes",
            "Resident memory of the living processes. A worker has some 290 MB; endless growth is a leak in an agent.",
            Query(total("agent_process_memory_bytes", by="role, instance"), "{{role}} {{instance}}"),
            width=12,
        ),
        side_by_side(
            25,
            "Versions",
            "What runs. Two versions for longer than a deploy: it stopped half way.",
            "job",
            Column("Processes and hosts", "count by (job, version, python) (agent_build_info)"),
            width=12,
            see=("VersionsDiffer",),
        ),
    ]


def _redis() -> list[Panel]:
    calls = "agent_redis_call_seconds"
    return [
        lines(
            31,
            "Redis round trips, p50 p99",
            "s",
            "As gateways and workers see them. Milliseconds at p50: the network or a busy Redis; only at p99: "
            "snapshots, a slow disk, a long script.",
            *percentiles((0.5, 0.99), calls),
            limits=[(0.25, RED)],
            see=("RedisSlow",),
        ),
        lines(
            32,
            "Redis round trips by verb, p99",
            "s",
            "Which verb is slow.",
            Query(quantile(0.99, calls, by="verb"), "{{verb}}"),
        ),
        lines(
            33,
            "Round trips by verb",
            "ops",
            "What Redis is asked for.",
            Query(rate(f"{calls}_count", by="verb"), "{{verb}}"),
            stacked=True,
        ),
        lines(
            34,
            "Redis errors by verb",
            "ops",
            "Round trips that failed: Redis away, full or loading. For longer than a restart: `manage.py doctor`.",
            Query(rate("agent_redis_errors_total", by="verb"), "{{verb}}"),
            stacked=True,
            see=(
                "RedisDown",
                "RedisFull",
            ),
        ),
        lines(
            35,
            "Redis memory",
            "bytes",
            "max 0 is no limit: then the host's memory is. At the limit submits are refused, and running tasks end all "
            "the same.",
            Query(stored("agent_redis_memory_bytes", by="kind"), "{{kind}}"),
            see=(
                "RedisMemoryHigh",
                "RedisFull",
            ),
        ),
        figure(
            36,
            "Redis persistence",
            "bool_yes_no",
            "Whether the last write of the append-only file and of a snapshot went well. No: the disk is full or "
            "broken, and a crash of Redis loses what is not written. docs/redis.md.",
            lowest("agent_redis_persistence_ok"),
            limits=[(1, GREEN)],
            below=RED,
            width=8,
            see=("RedisNotPersisting",),
        ),
    ]
