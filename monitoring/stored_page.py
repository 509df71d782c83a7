"""The stored metrics of a gateway's /metrics page: read from Redis for each page, never from memory."""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from taskstore.errors import StoreError
from taskstore.store import TaskStore

from . import stored_samples
from .metrics import STORED
from .stored_samples import Series

READ_WITHIN_S = 1.0
"""A page without these numbers in time is worth more to Prometheus than a page that comes too late."""

log = logging.getLogger(__name__)


class StoredMetrics:
    """Reads them. Pages that are asked for at once share one read, so that they do not pile up on a slow Redis."""

    def __init__(self, store: TaskStore, *, models: Iterable[str], agents: Iterable[str]) -> None:
        self._store = store
        self._models = tuple(models)
        self._agents = tuple(agents)
        self._reading: asyncio.Task[StoredPage] | None = None
        self._away = False

    async def read(self) -> "StoredPage":
        """Within about a second, also when Redis does not answer: then it says that, and nothing else."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(), name="stored metrics")
        return await asyncio.shield(self._reading)  # whoever gives up must not take it from the others

    async def _read(self) -> "StoredPage":
        try:
            async with asyncio.timeout(READ_WITHIN_S):
                measures = await self._store.measures()
        except (StoreError, RedisError, TimeoutError) as error:
            if not self._away:
                log.warning("stored_metrics_missing", extra={"reason": str(error) or f"none in {READ_WITHIN_S:g} s"})
            self._away = True
            return StoredPage(stored_samples.away())
        self._away = False
        return StoredPage(stored_samples.samples(measures, models=self._models, agents=self._agents))


class StoredPage(Collector):
    """What was read, as prometheus_client writes it."""

    def __init__(self, series: Mapping[str, Series]) -> None:
        self._series = series

    def collect(self) -> Iterator[Metric]:
        for stored in STORED:
            if stored.name in self._series:
                family = CounterMetricFamily if stored.kind == "counter" else GaugeMetricFamily
                metric = family(stored.name, stored.help, labels=stored.labels)
                for labels, value in self._series[stored.name].items():
                    metric.add_metric(labels, value)
                yield metric
