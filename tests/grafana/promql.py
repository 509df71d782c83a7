"""Reads of an expression what the tests want to know: metrics, labels, what they are reduced by. No parser: promtool
says whether an expression is one at all.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import Counter, Gauge, Histogram

from monitoring import metrics

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_SELECTOR = re.compile(r"(?<![\w:$])([a-zA-Z_:][\w:]*)(?![\w:])(?:\{([^}]*)\})?(?:\[[^\]]*\])?(?!\s*\()")
_REDUCED = re.compile(r"\b(sum|max|min|avg|count)(?: by \(([^)]*)\))? ?\(")
_WORDS = {"by", "or", "and", "unless", "on", "ignoring", "group_left", "bool", "without"}
ADDED = {"job", "instance"}
"""Labels that Prometheus puts on every series."""
EXPORTERS = ("node_", "redis_")
"""Prefixes of the metrics that are not ours."""


@dataclass(frozen=True, slots=True)
class Selector:
    metric: str
    labels: frozenset[str]
    place: int


@dataclass(frozen=True, slots=True)
class Reduced:
    by: tuple[str, ...]
    operator: str
    inside: str
    start: int
    end: int


def declared() -> dict[str, set[str]]:
    """Every series of our own pages, with its labels."""
    found = {one.name: set(one.labels) for one in metrics.STORED}
    for one in vars(metrics).values():
        if isinstance(one, Counter | Gauge | Histogram):
            name, labels = one._name, set(one._labelnames)
            if isinstance(one, Histogram):
                found |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
            else:
                found[f"{name}_total" if isinstance(one, Counter) else name] = labels
    return found


def selectors(expression: str) -> list[Selector]:
    plain = _STRING.sub("_", expression)
    hidden = re.sub(r" by \([^)]*\)", lambda found: " " * len(found[0]), plain)
    hidden = re.sub(r"\$\w+", lambda found: " " * len(found[0]), hidden)
    return [
        Selector(found[1], frozenset(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", found[2] or "")), found.start())
        for found in _SELECTOR.finditer(hidden)
        if found[1] not in _WORDS and not re.fullmatch(r"\d.*|_", found[1])
    ]


def reductions(expression: str) -> Iterator[Reduced]:
    """Outer ones before those inside them."""
    plain = _STRING.sub("_", expression)
    for found in _REDUCED.finditer(plain):
        depth, end = 1, found.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(plain[end], 0)
            end += 1
        by = tuple(name.strip() for name in (found[2] or "").split(",") if name.strip())
        yield Reduced(by, found[1], plain[found.end() : end - 1], found.start(), end)
