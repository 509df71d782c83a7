"""Langfuse traces: one a task, whose later attempts continue it. Without keys nothing of Langfuse is even loaded."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core_config import Settings

if TYPE_CHECKING:
    from langchain_core.callbacks import BaseCallbackHandler
    from langfuse import Langfuse
    from langfuse.types import MaskOtelSpansParams, MaskOtelSpansResult

SHUTDOWN_S = 6.0
"""How long the last spans may take on their way out; Langfuse gives up on a dead server after 3 to 5 s."""

log = logging.getLogger(__name__)


class Tracing:
    """One for a process. Sampling, content switches and other backends are not here yet."""

    def __init__(self, settings: Settings, redact: Callable[[str], str]) -> None:
        """`redact` takes secrets out of every text before it leaves, as it does for the log."""
        self._client: Langfuse | None = None
        self._redact = redact
        if settings.langfuse_public_key and settings.langfuse_secret_key:
            import langfuse  # noqa: PLC0415  memory and time that only a traced worker should pay

            self._client = langfuse.Langfuse(
                public_key=settings.langfuse_public_key,
                secret_key=settings.langfuse_secret_key.get_secret_value(),
                base_url=settings.langfuse_host,
                # not `mask`, which sees inputs and outputs only
                mask_otel_spans=_masking(redact),
            )
            log.info("tracing_on", extra={"server": settings.langfuse_host})

    def callbacks(self, task_id: str) -> "Sequence[BaseCallbackHandler]":
        """For one run: a handler keeps the state of the run that it watches, so none is used twice."""
        if self._client is None:
            return ()
        from monitoring.traced_run import TracedRun  # noqa: PLC0415  as above

        return (TracedRun(self._client.create_trace_id(seed=task_id), self._redact),)

    def metadata(self, *, session_id: str | None, user_id: str | None, tags: Sequence[str]) -> Mapping[str, Any]:
        """What names the trace in Langfuse, in the form that its handler reads from a run's metadata."""
        if self._client is None:
            return {}
        names = {"langfuse_session_id": session_id, "langfuse_user_id": user_id, "langfuse_tags": list(tags)}
        return {name: value for name, value in names.items() if value}

    async def close(self) -> None:
        """Sends what is left. Bounded, and in a thread: Langfuse's own shutdown blocks."""
        if self._client is not None:
            client, self._client = self._client, None
            try:
                await asyncio.wait_for(asyncio.to_thread(client.shutdown), SHUTDOWN_S)
            except TimeoutError:
                log.warning("tracing_unsent", extra={"seconds": SHUTDOWN_S, "effect": "the last spans are lost"})


def _masking(redact: Callable[[str], str]) -> "Callable[..., MaskOtelSpansResult]":
    from langfuse.types import MaskOtelSpansResult, OtelSpanPatch  # noqa: PLC0415  as above

    def redacted(value: Any) -> Any:
        if isinstance(value, str):
            return redact(value)
        return [redacted(part) for part in value] if isinstance(value, Sequence) else value

    def mask(*, params: "MaskOtelSpansParams") -> MaskOtelSpansResult:
        return MaskOtelSpansResult(
            span_patches={
                identifier: OtelSpanPatch(
                    set_attributes={name: redacted(value) for name, value in span.attributes.items()}
                )
                for identifier, span in params.spans.items()
            }
        )

    return mask
