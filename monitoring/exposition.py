"""The page that Prometheus reads."""

from collections.abc import Iterable

from prometheus_client import CONTENT_TYPE_LATEST, Metric, generate_latest
from prometheus_client.registry import Collector

from monitoring import metrics

Declared = tuple[metrics.Observed, ...]


def page(processes: int = 1, extra: Collector | None = None) -> tuple[bytes, str]:
    """The gateways' metrics in Prometheus's text format, and its content type. `processes` is how many serve beside
    this one, `extra` what does not come from processes. Raises OSError when the directory that they share cannot be
    read.
    """
    text = generate_latest(_Page((*metrics.OF_GATEWAYS, *metrics.OF_BOTH)))
    if processes > 1 and metrics.SHARED is None:
        text = (
            f"# one of {processes} processes only: set {metrics.MULTIPROC_DIR} to count them together\n".encode() + text
        )
    if extra is not None:
        text += generate_latest(extra)
    return text, CONTENT_TYPE_LATEST


def workers_page() -> tuple[bytes, str]:
    """The same of the workers'."""
    return generate_latest(_Page((*metrics.OF_WORKERS, *metrics.OF_BOTH))), CONTENT_TYPE_LATEST


class _Page(Collector):
    """What generate_latest collects: each of these metrics, also one that nobody has observed yet."""

    def __init__(self, declared: Declared) -> None:
        self._declared = declared

    def collect(self) -> Iterable[Metric]:
        if metrics.SHARED is None:
            return [found for one in self._declared for found in one.collect()]
        counted = {found.name: found for found in metrics.SHARED.read()}
        return [counted.get(empty.name, empty) for one in self._declared for empty in one.describe()]
