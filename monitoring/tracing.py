"""Traces of tasks, to Langfuse, to any OTLP backend, or to both. Off, nothing of either library is even loaded.

docs/traces.md has what a trace looks like and what becomes of it when a backend is away.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from core_config import Settings
from taskstore.claims import Claim

from . import log_context
from .traces.ids import has_langfuse, is_sampled, trace_id_of
from .traces.trace import NOT_TRACED, Trace

if TYPE_CHECKING:
    from .traces import provider

SHUTDOWN_S = 6.0
"""How long the last spans may take on their way out."""

log = logging.getLogger(__name__)


class Tracing:
    """One for a process."""

    def __init__(self, settings: Settings, redact: Callable[[str], str], worker: str = "") -> None:
        """`redact` takes secrets out of every text before it leaves, as it does for the log; `worker` is who runs what
        is traced.
        """
        self._spans: provider.Spans | None = None
        self._rate = settings.langfuse_sample_rate
        self._worker = worker
        if not has_langfuse(settings) and settings.otel_exporter_otlp_endpoint is None:
            _say_off(settings)
            return
        from .traces.provider import Spans  # noqa: PLC0415  memory and time that only a traced worker should pay

        self._spans = Spans(settings, redact, worker)
        backends = ",".join(exporter.backend for exporter in self._spans.exporters)
        log.info(
            "tracing_on",
            extra={"backends": backends, "contents": settings.trace_content, "share": settings.langfuse_sample_rate},
        )

    def begin(self, claim: Claim) -> Trace:
        """The trace of an attempt that begins now. Raises nothing: tracing is never a task's trouble."""
        spans, trace_id = self._spans, trace_id_of(claim.task_id, claim.traceparent)
        if spans is None or not is_sampled(trace_id, self._rate) or spans.skip():
            return NOT_TRACED
        log_context.bind(trace=trace_id)
        try:
            from .traces.attempt import AttemptTrace  # noqa: PLC0415  as above

            return AttemptTrace(spans, claim, self._worker)
        except Exception:
            log.exception("trace_not_begun", extra={"task": claim.task_id, "attempt": claim.attempt})
            return NOT_TRACED

    async def close(self) -> None:
        """Sends what is left, for SHUTDOWN_S at most."""
        if self._spans is not None:
            spans, self._spans = self._spans, None
            if unsent := await spans.close(SHUTDOWN_S):
                log.warning("tracing_unsent", extra={"spans": unsent, "effect": "the last spans are lost"})


def _say_off(settings: Settings) -> None:
    about = {"remedy": "set LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY, or OTEL_EXPORTER_OTLP_ENDPOINT"}
    level = logging.INFO
    if settings.langfuse_public_key or settings.langfuse_secret_key:
        about, level = {"cause": "one of Langfuse's two keys is missing", **about}, logging.WARNING
    log.log(level, "tracing_off", extra=about)
