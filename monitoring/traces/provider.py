"""Where spans are made and where they go: one OpenTelemetry provider of our own, and a queue, a thread and an exporter
for each backend, so that none waits for another. Importing it loads Langfuse and OpenTelemetry.

Langfuse's SDK makes the spans of the agent's calls, also for OTLP alone: it then sends nothing to Langfuse. The global
provider stays free for whatever an agent's own code wants to do with it.
"""

import asyncio
import base64
import contextlib
import logging
import os
import random
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar

from langfuse import Langfuse
from langfuse import __version__ as langfuse_version
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from core_config import VERSION, Settings

from .export import LAST_WORD, CheckedExporter, Cleaner, Waiting, is_kept
from .ids import has_langfuse

LANGFUSE, OTLP = "langfuse", "otlp"
TRACER = "longhaul"
MOST_WAITING = 2048
"""Spans that wait for one backend, which is what Langfuse's queue holds; with more, the oldest are let go."""
SEND_S = 5.0
"""How long one batch may take, tries included."""
NO_KEY = "none"
"""Langfuse's SDK wants keys to make spans, also when nothing goes to Langfuse."""

_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
_MEDIA = "LANGFUSE_MEDIA_UPLOAD_ENABLED"
_QUEUE = "OTEL_BSP_MAX_QUEUE_SIZE"

_chosen: ContextVar[tuple[int, int] | None] = ContextVar("longhaul_chosen_span", default=None)

log = logging.getLogger(__name__)


class Provider(TracerProvider):
    """Knows its processors, to shut them down side by side: one that hangs is not to hold up the others."""

    def __init__(self, resource: Resource) -> None:
        self.processors: list[SpanProcessor] = []
        super().__init__(sampler=ALWAYS_ON, resource=resource, id_generator=ChosenIds(), shutdown_on_exit=False)

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        self.processors.append(span_processor)
        super().add_span_processor(span_processor)


class ChosenIds(IdGenerator):
    """Ids that were chosen for the next span, or random ones."""

    def generate_trace_id(self) -> int:
        chosen = _chosen.get()
        return chosen[0] if chosen else random.getrandbits(128) or 1

    def generate_span_id(self) -> int:
        chosen = _chosen.get()
        return chosen[1] if chosen else random.getrandbits(64) or 1


@contextlib.contextmanager
def chosen_ids(trace_id: int, span_id: int) -> Iterator[None]:
    """For the span that is begun within; a parent's trace id counts more."""
    token = _chosen.set((trace_id, span_id))
    try:
        yield
    finally:
        _chosen.reset(token)


class KeptOnly(BatchSpanProcessor):
    def on_end(self, span: ReadableSpan) -> None:
        if is_kept(span):
            super().on_end(span)


class Spans:
    """One for a process."""

    def __init__(self, settings: Settings, redact: Callable[[str], str], worker: str) -> None:
        """Sends to the backends that the settings name, at least one. Touches no network by itself."""
        for library in ("opentelemetry", "langfuse"):  # a line for each batch, span or odd value would be no help
            logging.getLogger(library).setLevel(logging.ERROR)
        spoken = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        spoken.setLevel(logging.WARNING)
        spoken.addFilter(LAST_WORD)
        clean = Cleaner(redact, contents=settings.trace_content == "on")
        with _our_environment():
            self.exporters = [
                CheckedExporter(backend, exporter, clean, MOST_WAITING) for backend, exporter in _backends(settings)
            ]
            self._provider = Provider(_resource(worker))
            self._provider.add_span_processor(Waiting(self.exporters))
            first, *others = self.exporters
            self.public_key = settings.langfuse_public_key if has_langfuse(settings) else NO_KEY
            secret = settings.langfuse_secret_key
            self._client = Langfuse(
                public_key=self.public_key,
                secret_key=secret.get_secret_value() if secret and has_langfuse(settings) else NO_KEY,
                base_url=settings.langfuse_host,
                tracer_provider=self._provider,
                span_exporter=first,
                should_export_span=is_kept,
                sample_rate=1.0,
            )
            for exporter in others:
                self._provider.add_span_processor(KeptOnly(exporter, max_queue_size=MOST_WAITING))
        self.tracer = self._provider.get_tracer(TRACER, VERSION)

    def skip(self) -> bool:
        """Whether no backend would take what an attempt that begins now tells of. Counts that attempt then."""
        if not all(exporter.skips() for exporter in self.exporters):
            return False
        for exporter in self.exporters:
            exporter.skipped()
        return True

    async def close(self, within_s: float) -> int:
        """Sends what is left, to all backends at once, for so long. Answers how many spans were not sent."""
        ended = [_in_thread(processor.shutdown) for processor in self._provider.processors]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await asyncio.gather(*ended)
                await _in_thread(self._client.shutdown)  # its idle threads
        return sum(exporter.give_up() for exporter in self.exporters)


def _resource(worker: str) -> Resource:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES may name it otherwise."""
    made = Resource.create({"service.version": VERSION, "service.instance.id": worker})
    is_named = not str(made.attributes["service.name"]).startswith("unknown_service")
    return made if is_named else made.merge(Resource({"service.name": "longhaul"}))


def _backends(settings: Settings) -> Iterator[tuple[str, OTLPSpanExporter]]:
    secret = settings.langfuse_secret_key
    if secret and has_langfuse(settings):
        pair = f"{settings.langfuse_public_key}:{secret.get_secret_value()}"
        headers = {
            "authorization": "Basic " + base64.b64encode(pair.encode()).decode(),
            "x-langfuse-sdk-name": "python",
            "x-langfuse-sdk-version": langfuse_version,
            "x-langfuse-public-key": str(settings.langfuse_public_key),
            "x-langfuse-ingestion-version": "4",  # seen in Langfuse at once, and not minutes later
        }
        yield LANGFUSE, _exporter(f"{settings.langfuse_host.rstrip('/')}/api/public/otel/v1/traces", headers)
    if settings.otel_exporter_otlp_endpoint:
        yield OTLP, _exporter(f"{settings.otel_exporter_otlp_endpoint.rstrip('/')}/v1/traces", settings.otlp_headers)


def _exporter(endpoint: str, headers: dict[str, str]) -> OTLPSpanExporter:
    return OTLPSpanExporter(endpoint=endpoint, headers=headers, timeout=SEND_S, compression=Compression.Gzip)


@contextlib.contextmanager
def _our_environment() -> Iterator[None]:
    """While the libraries read it: no header meant for one backend goes to another; no picture is uploaded past what is
    taken out of spans; and both queues are as long as we count on.
    """
    changed = {name: os.environ.get(name) for name in (*_HEADERS, _MEDIA, _QUEUE)}
    for name in _HEADERS:
        os.environ.pop(name, None)
    os.environ.update({_MEDIA: "false", _QUEUE: str(MOST_WAITING)})
    try:
        yield
    finally:
        for name, value in changed.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _in_thread(work: Callable[[], object]) -> "asyncio.Future[None]":
    """Runs it in a thread that nobody has to wait for, as the interpreter waits for those of executors."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not ended.done():
            ended.set_result(None)

    def run() -> None:
        try:
            work()
        except Exception:
            log.exception("tracing_shutdown_failed")
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell)

    threading.Thread(target=run, name="traces-end", daemon=True).start()
    return ended
