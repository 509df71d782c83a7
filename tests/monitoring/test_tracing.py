"""What really leaves the process for Langfuse: a sink takes the OTLP that the SDK sends, and the test decodes it."""

import gzip
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from langchain_core.runnables import RunnableLambda
from langfuse._client.resource_manager import LangfuseResourceManager
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from core_config import Settings
from monitoring.logs import Redactor
from monitoring.tracing import Tracing

SECRET = "canary-4f9a8b7c"
REDACT = Redactor([SECRET])


class Sink:
    def __init__(self) -> None:
        self.requests: list[tuple[str, str, bytes]] = []
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                sink.requests.append((self.path, self.headers["Authorization"], body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def spans(self) -> list[dict[str, str]]:
        found = []
        for path, _, body in self.requests:
            if path.endswith("/v1/traces"):
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    for scope in resource.scope_spans:
                        found += [
                            {"name": span.name, "trace": span.trace_id.hex()}
                            | {pair.key: pair.value.string_value for pair in span.attributes}
                            for span in scope.spans
                        ]
        return found


@pytest.fixture(scope="module")
def server() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.server.shutdown()
    sink.server.server_close()


@pytest.fixture
def sink(server: Sink) -> Iterator[Sink]:
    yield server
    LangfuseResourceManager.reset()  # it keeps a client of each public key for good
    server.requests.clear()


async def test_both_attempts_of_a_task_are_one_trace_that_names_its_session_and_user(settings: Settings, sink: Sink):
    tracing = Tracing(
        Settings(
            redis_url=settings.redis_url,
            langfuse_public_key="pk-lf-test",
            langfuse_secret_key="sk-lf-test",
            LANGFUSE_BASE_URL=sink.url,
        ),
        REDACT,
    )
    chain = RunnableLambda(str.upper)
    for task_id in ("task-1", "task-1", "task-2"):
        await chain.ainvoke(
            "hi",
            {
                "callbacks": list(tracing.callbacks(task_id)),
                "metadata": dict(tracing.metadata(session_id="s1", user_id="u1", tags=["default", "M"])),
            },
        )
    await tracing.close()
    spans = sink.spans()
    assert len(spans) == 3
    first, second, other = [span["trace"] for span in spans]
    assert first == second != other
    assert {(span["session.id"], span["user.id"]) for span in spans} == {("s1", "u1")}
    assert all(authorization.startswith("Basic ") for _, authorization, _ in sink.requests)


async def test_no_secret_is_in_a_trace(settings: Settings, sink: Sink):
    given = Settings(
        redis_url=settings.redis_url,
        langfuse_public_key="pk-lf-test",
        langfuse_secret_key="sk-lf-test",
        LANGFUSE_BASE_URL=sink.url,
    )
    tracing = Tracing(given, REDACT)

    def fail(text: str) -> str:
        raise RuntimeError(f"could not use {text}")

    with pytest.raises(RuntimeError):
        await (RunnableLambda(str.upper) | RunnableLambda(str.lower) | RunnableLambda(fail)).ainvoke(
            f"use {SECRET}", {"callbacks": list(tracing.callbacks("task-1")), "metadata": {"note": [SECRET, 1]}}
        )
    await tracing.close()
    assert "[redacted]" in str(sink.spans())
    assert any(span.get("langfuse.observation.level") == "ERROR" for span in sink.spans())
    assert all(SECRET.encode() not in body for _, _, body in sink.requests)


def test_without_keys_nothing_of_langfuse_is_used(settings: Settings):
    tracing = Tracing(settings.model_copy(update={"langfuse_public_key": "pk-lf-only-one"}), REDACT)
    assert tracing.callbacks("task") == ()
    assert tracing.metadata(session_id="s", user_id="u", tags=[]) == {}
    assert sys.modules["monitoring.tracing"].__dict__.get("Langfuse") is None
