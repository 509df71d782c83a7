"""Rows of Workers and Redis that others are the source of: exporters, and where traces go."""

from grafana_foundation_sdk.models.dashboard import Panel

from .panels import RED, YELLOW, Query, lines
from .promql import WINDOW, rate


def redis() -> list[Panel]:
    return [
        lines(
            41,
            "Redis clients",
            "short",
            "Connections; blocked ones are workers that listen for a task.",
            Query("sum by (instance) (redis_connected_clients)", "{{instance}} connected"),
            Query("sum by (instance) (redis_blocked_clients)", "{{instance}} blocked"),
        ),
        lines(
            42,
            "Redis commands",
            "ops",
            "Also those of scripts, and of others who share this Redis.",
            Query(rate("redis_commands_processed_total", by="instance"), "{{instance}}"),
        ),
        lines(
            43,
            "Redis evictions and refused connections",
            "ops",
            "Must be 0. Evictions: maxmemory-policy is not noeviction, and tasks are being lost. Refused: maxclients.",
            Query(rate("redis_evicted_keys_total", by="instance"), "{{instance}} evicted keys"),
            Query(rate("redis_rejected_connections_total", by="instance"), "{{instance}} refused connections"),
            see=("RedisEvicts",),
        ),
    ]


def traces() -> list[Panel]:
    return [
        lines(
            51,
            "Traces sent",
            "ops",
            "Batches of spans, by backend. failed: Langfuse or the collector is down or refuses the keys; tasks go on.",
            Query(rate("agent_trace_exports_total", by="backend, outcome"), "{{backend}} {{outcome}}"),
            width=12,
            see=("TracesFail",),
        ),
        lines(
            52,
            "Spans dropped",
            "ops",
            "Spans that were never sent: a gap in the traces, not in the tasks.",
            Query(rate("agent_trace_spans_dropped_total", by="backend"), "{{backend}}"),
            width=12,
        ),
    ]


def hosts() -> list[Panel]:
    idle = f'rate(node_cpu_seconds_total{{mode="idle"}}[{WINDOW}])'
    real = 'fstype!~"tmpfs|ramfs|overlay|squashfs"'
    return [
        lines(
            61,
            "Host processor",
            "percentunit",
            "Of all cores. Above 90 % for long: everything waits; add a host.",
            Query(f"1 - avg by (instance) ({idle})", "{{instance}}"),
            limits=[(0.9, RED)],
            top=1,
            see=("HostCpuBusy",),
        ),
        lines(
            62,
            "Host memory",
            "percentunit",
            "Above 90 %: the kernel may end a worker or Redis.",
            Query("1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes", "{{instance}}"),
            limits=[(0.9, RED)],
            top=1,
            see=("HostMemoryLow",),
        ),
        lines(
            63,
            "Host disk",
            "percentunit",
            "Above 85 %: make room before Redis cannot write its file.",
            Query(
                f"1 - node_filesystem_avail_bytes{{{real}}} / node_filesystem_size_bytes{{{real}}}",
                "{{instance}} {{mountpoint}}",
            ),
            limits=[(0.85, YELLOW), (0.95, RED)],
            top=1,
            see=(
                "HostDiskFull",
                "HostDiskFilling",
            ),
        ),
    ]
