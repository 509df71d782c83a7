"""The last step before spans leave the process: secrets and, if so set, contents are taken out, and what is sent or
lost is counted. Importing it loads OpenTelemetry.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, Status

from monitoring import metrics

DISCARDED = "longhaul.discarded"
"""Attribute of a span that is not to be sent."""

# Without contents nothing is sent but what is known to be none: an attribute that a library adds tomorrow is left out.
STRUCTURE = frozenset(
    {
        "langfuse.environment",
        "langfuse.internal.as_root",
        "langfuse.internal.is_app_root",
        "langfuse.observation.completion_start_time",
        "langfuse.observation.cost_details",
        "langfuse.observation.level",
        "langfuse.observation.model.name",
        "langfuse.observation.model.parameters",
        "langfuse.observation.type",
        "langfuse.observation.usage_details",
        "langfuse.release",
        "langfuse.trace.name",
        "langfuse.trace.tags",
        "langfuse.version",
        "session.id",
        "user.id",
    }
)
OURS = "longhaul."

MOST_WHILE_FAILING = 128
"""Spans that wait for a backend that has not taken the last ones: enough to see that it is back, and no more, as making
spans that nobody will take costs tasks a quarter of their processor time.
"""

log = logging.getLogger(__name__)


class Cleaner:
    """A span as it may leave: a copy, as others may still send the original elsewhere."""

    def __init__(self, redact: Callable[[str], str], *, contents: bool) -> None:
        self._redact = redact
        self._contents = contents
        self._resources: dict[int, tuple[Resource, Resource]] = {}

    def __call__(self, span: ReadableSpan) -> ReadableSpan:
        return ReadableSpan(
            name=_sendable(self._redact(span.name)),
            context=span.get_span_context(),
            parent=span.parent,
            resource=self._resource(span.resource),
            attributes=self._attributes(span.attributes or {}),
            events=[self._event(event) for event in span.events] if self._contents else (),
            links=[Link(link.context, self._attributes(link.attributes or {})) for link in span.links],
            kind=span.kind,
            status=self._status(span.status),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    def _attributes(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        kept = attributes if self._contents else {name: attributes[name] for name in attributes if _is_structure(name)}
        return {_sendable(self._redact(name)): self._value(value) for name, value in kept.items()}

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return _sendable(self._redact(value))
        return [self._value(part) for part in value] if isinstance(value, Sequence) else value

    def _event(self, event: Event) -> Event:
        return Event(_sendable(self._redact(event.name)), self._attributes(event.attributes or {}), event.timestamp)

    def _status(self, status: Status) -> Status:
        if status.description is None:
            return status
        return Status(status.status_code, _sendable(self._redact(status.description)) if self._contents else None)

    def _resource(self, resource: Resource) -> Resource:
        """Redacted once: it is the same of all spans. It says what runs, and holds no contents."""
        if id(resource) not in self._resources:
            clean = Resource({name: self._value(value) for name, value in resource.attributes.items()})
            self._resources[id(resource)] = resource, clean
        return self._resources[id(resource)][1]


def _sendable(text: str) -> str:
    """Half of a surrogate pair, which a model's JSON may hold, would keep its whole batch from being sent."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="replace").decode()
    return text


def _is_structure(name: str) -> bool:
    return name in STRUCTURE or name.startswith(OURS)


class CheckedExporter(SpanExporter):
    """Cleans, sends and counts. What cannot be cleaned is not sent. Spans that could not be sent are lost: the exporter
    underneath has tried again for as long as its time allowed.
    """

    def __init__(self, backend: str, exporter: SpanExporter, clean: Cleaner, most_waiting: int) -> None:
        self.backend = backend
        self._exporter = exporter
        self._clean = clean
        self._most_waiting = most_waiting
        self._waiting = 0
        self._sending = 0
        self._lock = threading.Lock()
        self._fails = False
        self._lost = 0
        # a counter that is first seen at 1 has not increased, for Prometheus
        self._sent = {
            is_sent: metrics.TRACES.labels(backend, "ok" if is_sent else "failed") for is_sent in (True, False)
        }
        self._dropped = metrics.SPANS_DROPPED.labels(backend)

    def skips(self) -> bool:
        """Whether an attempt that begins now is better not traced: the last batch was not taken, and more wait."""
        with self._lock:
            return self._fails and self._waiting >= MOST_WHILE_FAILING

    def skipped(self) -> None:
        """An attempt was not traced. How many spans it would have had nobody knows: it counts as one."""
        self._lose(1)

    def waits(self) -> None:
        """A span has ended and stands in the queue; a full queue has let go of its oldest one for it."""
        with self._lock:
            self._waiting += 1
            if self._waiting <= self._most_waiting:
                return
            self._waiting = self._most_waiting
        self._lose(1)

    def give_up(self) -> int:
        """How many nobody has taken so far; counts them as lost."""
        with self._lock:
            left, self._waiting, self._sending = self._waiting + self._sending, 0, 0
        self._lose(left)
        return left

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with self._lock:
            self._waiting = max(0, self._waiting - len(spans))
            self._sending = len(spans)
        why = ""
        try:
            result = self._exporter.export([self._clean(span) for span in spans])
        except Exception as error:  # noqa: BLE001  a span that broke the cleaner, or the library: never a reason to send it
            result, why = SpanExportResult.FAILURE, f"{type(error).__name__}: {error}"
        is_sent = result is SpanExportResult.SUCCESS
        self._sent[is_sent].inc()
        with self._lock:
            sent, self._sending = self._sending, 0
        if not is_sent:
            self._lose(sent)
        self._say(is_sent, why or LAST_WORD.said())
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def _lose(self, spans: int) -> None:
        if spans:
            self._lost += spans
            self._dropped.inc(spans)

    def _say(self, is_sent: bool, why: str) -> None:
        """Once when it begins and once when it is over: a backend may be away for days."""
        if is_sent and self._fails:
            log.info("traces_sent_again", extra={"backend": self.backend, "lost": self._lost})
        elif not is_sent and not self._fails:
            about = {"backend": self.backend, "cause": why, "effect": "spans are lost; tasks go on"}
            log.warning("traces_not_sent", extra=about)
        self._fails = not is_sent


class Waiting(SpanProcessor):
    """Tells exporters of each span that their queues take in."""

    def __init__(self, exporters: Sequence[CheckedExporter]) -> None:
        self._exporters = exporters

    def on_end(self, span: ReadableSpan) -> None:
        if is_kept(span):
            for exporter in self._exporters:
                exporter.waits()


def is_kept(span: ReadableSpan) -> bool:
    return DISCARDED not in (span.attributes or {})


class LastWord(logging.Filter):
    """What OpenTelemetry's exporter said last, in the thread that asks, in the place of a line for each batch."""

    def __init__(self) -> None:
        super().__init__()
        self._heard = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        self._heard.text = record.getMessage()
        return False

    def said(self) -> str:
        text: str = getattr(self._heard, "text", "")
        return text


LAST_WORD = LastWord()
