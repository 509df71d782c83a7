"""Which metrics and labels a PromQL expression names, and what is declared of them."""

import re
from collections.abc import Iterator
from itertools import pairwise

from prometheus_client import Counter, Gauge, Histogram

from monitoring import metrics

_STRING = r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\''
_TOKEN = re.compile(rf"{_STRING}|\[[^\]]*\]|[A-Za-z_:][A-Za-z0-9_:]*|\d[\w.]*|[{{}}(),]|[=!<>~]+|\S")
_GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_WORDS = {"and", "or", "unless", "offset", "bool"}
OF_EVERY_TARGET = {"job", "instance"}


def declared() -> dict[str, set[str]]:
    """Series of Longhaul, as Prometheus knows them, with their labels."""
    series: dict[str, set[str]] = {one.name: set(one.labels) for one in metrics.STORED}
    for metric in vars(metrics).values():
        labels = set(getattr(metric, "_labelnames", ()))
        if isinstance(metric, Counter):
            series[f"{metric._name}_total"] = labels
        elif isinstance(metric, Gauge):
            series[metric._name] = labels
        elif isinstance(metric, Histogram):
            series |= {f"{metric._name}_{end}": labels for end in ("sum", "count")}
            series[f"{metric._name}_bucket"] = labels | {"le"}
    return series


# Of Prometheus, Alertmanager and the exporters: only what the rules use, as the versions that were tried show it
FOREIGN: dict[str, set[str]] = {
    "up": set(),
    "redis_evicted_keys_total": set(),
    "node_cpu_seconds_total": {"cpu", "mode"},
    "node_memory_MemAvailable_bytes": set(),
    "node_memory_MemTotal_bytes": set(),
    "node_filesystem_avail_bytes": {"device", "fstype", "mountpoint"},
    "node_filesystem_size_bytes": {"device", "fstype", "mountpoint"},
    "prometheus_config_last_reload_successful": set(),
    "alertmanager_config_last_reload_successful": set(),
    "alertmanager_notifications_failed_total": {"integration"},
}


def used(expression: str) -> Iterator[tuple[str, set[str]]]:
    """(metric, labels that are matched on it), and ("", labels) for each list of labels after by, on and without."""
    tokens = [token for token in _TOKEN.findall(expression) if not token.startswith("[")]
    at = 0
    while at < len(tokens):
        token, following = tokens[at], tokens[at + 1] if at + 1 < len(tokens) else ""
        at += 1
        if not re.match(r"[A-Za-z_:]", token) or token in _WORDS:
            continue
        if token in _GROUPING:
            inside, at = _until(tokens, at, ")") if following == "(" else ([], at)
            yield "", {one for one in inside if re.match(r"[A-Za-z_]", one)}
        elif following == "{":
            inside, at = _until(tokens, at, "}")
            yield token, {one for one, then in pairwise(inside) if then in {"=", "!=", "=~", "!~"}}
        elif following not in {"(", *_GROUPING}:  # else a function
            yield token, set()


def _until(tokens: list[str], at: int, end: str) -> tuple[list[str], int]:
    """The tokens from the bracket at `at` to `end`, and where it goes on."""
    close = tokens.index(end, at)
    return tokens[at + 1 : close], close + 1
