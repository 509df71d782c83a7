"""`GET /metrics`: what the simulator did, for Prometheus. `GET /metrics.json` has the same for programs."""

from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from loadtest.simulator.meters import Meters
from loadtest.simulator.spread import Spread

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


def metrics_page(counters: dict[str, Any], meters: Meters, limited: dict[str, int], seed: int) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Page(list(_families(counters, meters, limited, seed))))
    return generate_latest(registry)


class _Page:
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(counters: dict[str, Any], meters: Meters, limited: dict[str, int], seed: int) -> Iterable[Metric]:
    yield _counter("calls", "Calls that have ended, by outcome.", "outcome", counters["outcomes"])
    yield _counter("responses", "Calls that have ended, by HTTP status.", "status", counters["statuses"])
    yield _counter("limited", "Calls refused with 429, by the limit that refused them.", "limit", limited)
    tokens = {kind: counters[f"{kind}_tokens"] for kind in ("prompt", "completion")}
    yield _counter("tokens", "Tokens of ended calls.", "kind", tokens)
    yield GaugeMetricFamily("simulator_in_flight", "Calls that run now.", counters["running"])
    yield GaugeMetricFamily("simulator_in_flight_most", "Calls that ran at most at once.", counters["running_peak"])
    yield GaugeMetricFamily("simulator_seed", "What chance follows from.", seed)
    for part, prefix in (("answer", ""), ("first_token", "first_")):
        for name, meaning in (
            ("asked", "that it was asked to take"),
            ("given", "that it took"),
            ("late", "that it took longer than asked"),
        ):
            told = "its first token" if prefix else "a whole answer"
            yield _histogram(f"{part}_{name}", f"Time to {told} {meaning}.", getattr(meters, f"{prefix}{name}"))
    yield _histogram("loop_late", "How late the event loop was.", meters.loop_late)


def _counter(name: str, told: str, label: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(f"simulator_{name}", told, labels=[label])
    for value, count in sorted(values.items()):
        family.add_metric([value], count)
    return family


def _histogram(name: str, told: str, spread: Spread) -> Metric:
    return HistogramMetricFamily(f"simulator_{name}_seconds", told, buckets=spread.buckets(), sum_value=spread.total)
