"""The page that Prometheus reads."""

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from monitoring.metrics import MULTIPROC_DIR, counts_are_shared


def page(processes: int = 1, extra: Collector | None = None) -> tuple[bytes, str]:
    """The metrics in Prometheus's text format, and its content type. `processes` is how many serve beside this one.
    `extra` is what does not come from processes.
    """
    registry = REGISTRY
    if counts_are_shared():
        registry = CollectorRegistry(support_collectors_without_names=True)
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
    text = generate_latest(registry)
    if processes > 1 and not counts_are_shared():
        text = f"# one of {processes} processes only: set {MULTIPROC_DIR} to count them together\n".encode() + text
    if extra is not None:
        text += generate_latest(extra)
    return text, CONTENT_TYPE_LATEST
