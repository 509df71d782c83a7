"""Expressions that are right with any number of processes, hosts and gateways.

A process's metric is summed over processes. What the store counts (`STORED`) is shown by every gateway alike, so it is
first reduced to one series for each set of its labels (`max by`), and only then summed.
"""

from monitoring.metrics import STORED

WINDOW = "$__rate_interval"
"""Grafana's: never so short that a rate has fewer than two samples."""
_LABELS = {one.name: one.labels for one in STORED}


def rate(metric: str, *where: str, by: str = "", window: str = WINDOW, of: str = "rate") -> str:
    """A counter of processes, per second; with `of="increase"` over the window."""
    return f"sum{_by(by)}({of}({metric}{_where(where)}[{window}]))"


def total(metric: str, *where: str, by: str = "") -> str:
    """A gauge of processes."""
    return f"sum{_by(by)}({metric}{_where(where)})"


def quantile(q: float, histogram: str, *where: str, by: str = "", window: str = WINDOW) -> str:
    buckets = rate(f"{histogram}_bucket", *where, by=f"le, {by}" if by else "le", window=window)
    return f"histogram_quantile({q}, {buckets})"


def stored_rate(metric: str, *where: str, by: str = "", window: str = WINDOW, of: str = "rate") -> str:
    """A counter of the store, per second; with `of="increase"` over the window."""
    return _once(metric, f"{of}({metric}{_where(where)}[{window}])", by)


def stored(metric: str, *where: str, by: str = "") -> str:
    """A gauge of the store, summed over the labels that `by` leaves out."""
    return _once(metric, f"{metric}{_where(where)}", by)


def highest(metric: str, *where: str, by: str = "") -> str:
    return f"max{_by(by)}({metric}{_where(where)})"


def lowest(metric: str, *where: str, by: str = "") -> str:
    return f"min{_by(by)}({metric}{_where(where)})"


def share(part: str, whole: str) -> str:
    """0 to 1: 0 for what has a whole and no part, nothing where there is no traffic at all."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def _once(metric: str, inner: str, by: str) -> str:
    labels = ", ".join(_LABELS[metric])
    single = f"max{_by(labels)}({inner})"
    return single if labels == by else f"sum{_by(by)}({single})"


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else ""


def _where(matchers: tuple[str, ...]) -> str:
    return "{" + ", ".join(matchers) + "}" if matchers else ""
