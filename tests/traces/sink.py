"""Where traces go in tests: a real HTTP server that decodes the gzip OTLP which it is sent, and can be out of order."""

import base64
import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue


@dataclass(frozen=True)
class Span:
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    """'' of a root."""
    start_ns: int
    end_ns: int
    failed: bool
    said: str
    """The status's description."""
    attributes: dict[str, Any]
    events: list[str]
    resource: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.attributes.get(name)

    @property
    def type(self) -> str:
        return str(self["langfuse.observation.type"])


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Sink:
    """`status` is what it answers; while `hangs` is set it answers nothing."""

    requests: list[Request] = field(default_factory=list)
    status: int = 200
    hangs: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                sink.requests.append(Request(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                while sink.hangs.is_set():
                    time.sleep(0.01)
                self.send_response(sink.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

            def handle(self) -> None:
                with suppress(ConnectionError, TimeoutError):  # whoever sent it gave up
                    super().handle()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.hangs.clear()
        self.server.shutdown()
        self.server.server_close()

    def spans(self) -> list[Span]:
        """All that came, in the order in which it came."""
        return [
            _span(span, {pair.key: _value(pair.value) for pair in part.resource.attributes})
            for request in self.requests
            if request.path.endswith("/v1/traces")
            for part in ExportTraceServiceRequest.FromString(request.body).resource_spans
            for scope in part.scope_spans
            for span in scope.spans
        ]

    def trace(self, trace_id: str) -> list[Span]:
        return [span for span in self.spans() if span.trace_id == trace_id]

    def holds(self, text: str) -> bool:
        """Whether anything that came has the text in it, also in the headers but for its own key's."""
        headers = [{**request.headers, "authorization": ""} for request in self.requests]
        return text in json.dumps(headers) or any(text.encode() in request.body for request in self.requests)

    def until(self, holds: Callable[[list[Span]], bool], within_s: float = 180) -> list[Span]:
        """All spans, as soon as it holds of them."""
        give_up = time.monotonic() + within_s
        while not holds(spans := self.spans()):
            assert time.monotonic() < give_up, [span.name for span in spans]
            time.sleep(0.02)
        return spans


@contextmanager
def sink() -> Iterator[Sink]:
    running = Sink()
    try:
        yield running
    finally:
        running.close()


def basic(public_key: str, secret_key: str) -> str:
    return "Basic " + base64.b64encode(f"{public_key}:{secret_key}".encode()).decode()


def _span(span: Any, resource: dict[str, Any]) -> Span:
    return Span(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        failed=span.status.code == 2,
        said=span.status.message,
        attributes={pair.key: _value(pair.value) for pair in span.attributes},
        events=[str(event) for event in span.events],
        resource=resource,
    )


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(part) for part in value.array_value.values]
    return getattr(value, kind) if kind else None


class Tree:
    """A trace by who hangs under whom. Refuses what no backend shows well: a span twice, a parent that never came."""

    def __init__(self, spans: list[Span], above: str = "") -> None:
        """`above` is the id of the span of the caller's that all hangs under."""
        self.spans = {span.span_id: span for span in spans}
        assert len(self.spans) == len(spans), "a span came twice"
        assert len({span.trace_id for span in spans}) == 1
        for span in spans:
            assert span.parent_id in {above, *self.spans}, f"{span.name} hangs under a span that never came"
        roots = [span for span in spans if span.parent_id == above]
        assert len(roots) == 1, [span.name for span in roots]
        self.root = roots[0]

    def under(self, span: Span) -> list[Span]:
        """Its children, by when they began."""
        return sorted((one for one in self.spans.values() if one.parent_id == span.span_id), key=lambda s: s.start_ns)

    def below(self, span: Span) -> list[Span]:
        """All its descendants."""
        return [one for child in self.under(span) for one in (child, *self.below(child))]

    def named(self, name: str) -> Span:
        (found,) = (span for span in self.spans.values() if span.name == name)
        return found
