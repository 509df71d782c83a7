"""Tracing in this process, to sinks, and one attempt that is traced."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from langfuse._client.resource_manager import LangfuseResourceManager

from core_config import Settings
from monitoring import metrics
from monitoring.logs import Redactor, secrets_of
from monitoring.tracing import Tracing
from taskstore.claims import Claim, Settlement
from taskstore.records import Kind
from taskstore.states import Status

from .sink import Sink, sink

SECRET = "canary.of-a-provider.4f9a8b7c"
AWKWARD = 'canary "quoted" \\ slashed ü'
LANGFUSE_SECRET = "canary.langfuse.91d2c3e4"
TOKEN = "canary%2Eof%20otlp"
TASK = "1f496ac277d080b89d9b54a4c4209b35"

MakeTracing = Callable[..., Tracing]


@pytest.fixture
def otlp() -> Iterator[Sink]:
    with sink() as running:
        yield running


@pytest.fixture
async def make() -> AsyncIterator[MakeTracing]:
    """Tracing to these sinks; closed at the end."""
    made: list[Tracing] = []

    def make(langfuse: Sink | str | None = None, otlp: Sink | str | None = None, **changes: Any) -> Tracing:
        given = dict(changes)
        if langfuse is not None:
            given |= {"langfuse_public_key": "public", "langfuse_secret_key": LANGFUSE_SECRET}
            given["LANGFUSE_HOST"] = langfuse if isinstance(langfuse, str) else langfuse.url
        if otlp is not None:
            given["otel_exporter_otlp_endpoint"] = otlp if isinstance(otlp, str) else otlp.url
        settings = Settings(_env_file=None, **given)
        made.append(Tracing(settings, Redactor({SECRET, AWKWARD, *secrets_of(settings)}), "w1"))
        return made[-1]

    yield make
    for one in made:
        await one.close()
    LangfuseResourceManager.reset()  # it keeps a client of each public key for good


def claim(**fields: Any) -> Claim:
    given: dict[str, Any] = {
        "task_id": TASK, "fence": 1, "attempt": 1, "crashes": 0, "retries": 0, "caller": "alice", "model": "M",
        "agent": "default", "kind": Kind.BATCH, "message": "and now?", "user_id": "u", "session_id": "s",
        "metadata": {}, "left_ms": None,
    }  # fmt: skip
    return Claim(**{**given, **fields})


async def run(tracing: Tracing, claimed: Claim | None = None, *, metadata: dict[str, Any] | None = None) -> None:
    """One attempt whose agent fails with what it was asked."""

    def fail(text: str) -> str:
        raise RuntimeError(f"could not use {text}")

    asked = claimed or claim()
    trace = tracing.begin(asked)
    agent = RunnableLambda(str.strip) | RunnableLambda(fail)
    with pytest.raises(RuntimeError), trace.within():
        await agent.ainvoke(asked.message, {"callbacks": list(trace.callbacks()), "metadata": metadata or {}})
    error = f"could not use {asked.message}"
    trace.end(Settlement(task_id=TASK, fence=1, kind="fail", error_code="internal", error=error), Status.FAILED)


def counted(backend: str) -> tuple[float, float, float]:
    """Batches that were sent, batches that were not, spans that were lost."""
    ok, failed = (metrics.TRACES.labels(backend, outcome)._value.get() for outcome in ("ok", "failed"))
    return ok, failed, metrics.SPANS_DROPPED.labels(backend)._value.get()


def more(backend: str, before: tuple[float, float, float]) -> tuple[float, ...]:
    return tuple(after - was for after, was in zip(counted(backend), before, strict=True))


NAMES = ["RunnableLambda", "RunnableLambda", "RunnableSequence", "attempt 1", "default", "queue"]


def names(sink: Sink) -> list[str]:
    return sorted("RunnableLambda" if span.name in {"fail", "strip"} else span.name for span in sink.spans())
