"""The spans of one attempt above what its agent does: the task, its wait and the attempt. Importing it loads Langfuse.

    default                    the task, from its submit to its end: sent once, by the worker that ends it
      queue                    a wait for a worker
      attempt 1                by one worker
        ...                    what the agent does (run.py), and steps that its code tells of
      queue
      attempt 2                on another worker, perhaps: its parent's id comes from the task's

A span is sent whole and once, as Langfuse, Tempo and Jaeger ask for: none of them merges two halves for certain.
"""

import contextlib
import json
import logging
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.runnables.config import ensure_config
from langfuse import propagate_attributes
from opentelemetry import trace as otel
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, StatusCode, TraceFlags

from agent.run_context import StepEvent, StepListener
from taskstore.claims import Claim, LostAttempt, Settlement
from taskstore.records import NO_SESSION
from taskstore.states import Status

from .export import DISCARDED
from .ids import parent_of, span_id_of, trace_id_of
from .names import AS_ROOT, INPUT, LEVEL, OUTPUT, STATUS, TYPE
from .provider import Spans, chosen_ids
from .run import TracedRun
from .trace import Trace

if TYPE_CHECKING:
    from langchain_core.callbacks import BaseCallbackHandler

NS_A_MS = 1_000_000
FAILED = frozenset({"fail", "bury"})

log = logging.getLogger(__name__)


class AttemptTrace(Trace):
    def __init__(self, spans: Spans, claim: Claim, worker: str) -> None:
        """Begins with the claim: durations in it count back from now, so that no two machines' clocks are compared."""
        self._spans = spans
        self._claim = claim
        self._trace_id = int(trace_id_of(claim.task_id, claim.traceparent), 16)
        self._names = _names(claim)
        self._steps: dict[int, Span] = {}
        self._handlers: list[TracedRun] = []
        now = time.time_ns()
        with propagate_attributes(**self._names):
            about: dict[str, Any] = {
                AS_ROOT: True, INPUT: claim.message if claim.input is None else _json(claim.input),
                "longhaul.caller": claim.caller,
            }  # fmt: skip
            self._root = self._begin(claim.agent, f"root {claim.replays}", now - claim.age_ms * NS_A_MS, about=about)
            if claim.lost is not None:
                self._tell_lost(claim.lost, now)
            queue = self._begin("queue", f"queue {claim.fence}", now - claim.queued_ms * NS_A_MS, self._root)
            queue.end(now)
            about = {"longhaul.attempt": claim.attempt, "longhaul.worker": worker}
            self._attempt = self._begin(
                f"attempt {claim.attempt}", f"attempt {claim.fence}", now, self._root, about=about
            )

    def callbacks(self) -> "Sequence[BaseCallbackHandler]":
        run_id = span_id_of(self._claim.task_id, f"run {self._claim.fence}")
        handler = TracedRun(self._spans.tracer, (self._trace_id, run_id))
        self._handlers.append(handler)
        return (handler,)

    @contextlib.contextmanager
    def within(self) -> Iterator[None]:
        # how the attempt ends is the settlement's to say, not an exception's that passes here
        use = otel.use_span(self._attempt, record_exception=False, set_status_on_exception=False)
        with propagate_attributes(**self._names), use:
            yield

    def steps(self, listener: StepListener) -> StepListener:
        def listen(event: StepEvent) -> None:
            listener(event)
            if event.kind == "step":
                self._step(event)

        return listen

    def end(self, settlement: Settlement | None, status: Status | None) -> None:
        try:
            self._end(settlement if status else None, status)
        except Exception:
            log.exception("trace_not_ended")

    def _end(self, settlement: Settlement | None, status: Status | None) -> None:
        for handler in self._handlers:
            handler.close()
        for span in self._steps.values():
            _fail(span, "", "The attempt ended without it.")
            span.end()
        _tell(self._attempt, settlement)
        self._attempt.end()
        if settlement is None or status is None or not status.is_final:
            self._root.set_attribute(DISCARDED, True)  # the worker that ends the task sends it
        else:
            _tell(self._root, settlement)
            self._root.set_attribute("longhaul.status", status.value)
            if status is Status.FAILED:  # also by a retry that was one too many
                self._root.set_attribute(LEVEL, "ERROR")
            if settlement.result is not None:
                self._root.set_attribute(OUTPUT, settlement.result)
        self._root.end()

    def _begin(
        self, name: str, what: str, start: int, parent: Span | None = None, about: dict[str, Any] | None = None
    ) -> Span:
        """The task's span `what`, begun at `start` (ns since 1970)."""
        claim = self._claim
        under = parent or _caller_span(claim.traceparent) or otel.INVALID_SPAN
        attributes = {
            TYPE: "span", "longhaul.task_id": claim.task_id, "longhaul.agent": claim.agent,
            "longhaul.model": claim.model, **(about or {}),
        }  # fmt: skip
        with chosen_ids(self._trace_id, span_id_of(claim.task_id, what)):
            return self._spans.tracer.start_span(
                name, otel.set_span_in_context(under), attributes=attributes, start_time=start
            )

    def _tell_lost(self, lost: LostAttempt, now: int) -> None:
        """What its own worker could not: calls that it did send hang under these spans."""
        began, ended = (now - ms * NS_A_MS for ms in (lost.began_ms, lost.ended_ms))
        about = {"longhaul.attempt": lost.attempt, "longhaul.worker": lost.worker, "longhaul.outcome": "worker_lost"}
        attempt = self._begin(f"attempt {lost.attempt}", f"attempt {lost.fence}", began, self._root, about)
        run = self._begin(self._claim.agent, f"run {lost.fence}", began, attempt)
        for span in (run, attempt):
            _fail(span, "worker_lost", "The worker was lost while it ran this attempt.")
            span.end(ended)

    def _step(self, event: StepEvent) -> None:
        if event.phase == "start":
            attributes = {TYPE: "span"} | ({} if event.arguments is None else {INPUT: event.arguments})
            self._steps[event.number] = self._spans.tracer.start_span(
                event.name, otel.set_span_in_context(self._enclosing()), attributes=attributes
            )
        elif span := self._steps.pop(event.number, None):
            if event.result is not None:
                span.set_attribute(OUTPUT, event.result)
            if event.error is not None:
                _fail(span, "", event.error)
            span.end()

    def _enclosing(self) -> Span:
        """The span of the call that the current code is in, by LangChain's own word: which span is OpenTelemetry's
        current one says less, since a model call that ends in another context leaves its own behind.
        """
        run_id = getattr(ensure_config().get("callbacks"), "parent_run_id", None)
        found = (handler.span_of(run_id) for handler in self._handlers if run_id is not None)
        return next((span for span in found if span is not None), self._attempt)


def _names(claim: Claim) -> dict[str, Any]:
    """What every span of the trace carries, and Langfuse finds it by."""
    session = claim.session_id
    return {
        "user_id": claim.user_id or None,
        "session_id": None if session is None or session.strip() in NO_SESSION else session,
        "tags": list(dict.fromkeys([claim.agent, claim.model, claim.caller])),
        "trace_name": claim.agent,
    }


def _caller_span(traceparent: str | None) -> Span | None:
    parent = parent_of(traceparent)
    if parent is None or not parent.sampled:
        return None  # nobody will ever send that span: the task's trace has a root of its own then
    flags = TraceFlags(TraceFlags.SAMPLED)
    return NonRecordingSpan(
        SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags)
    )


def _tell(span: Span, settlement: Settlement | None) -> None:
    """Of an attempt, how it ended and what it spent."""
    if settlement is None:
        span.set_attribute("longhaul.outcome", "lost")
        _fail(span, "lease_lost", "The lease was lost: another worker may have run the task.")
        return
    told = {
        "longhaul.outcome": settlement.kind,
        "longhaul.tokens": None if settlement.usage is None else settlement.usage.total_tokens,
        "longhaul.cost_usd": None if settlement.usage is None else settlement.cost_usd,
        "longhaul.answered_by": settlement.answered_by,
        "longhaul.simulated": settlement.simulated,
    }
    span.set_attributes({name: value for name, value in told.items() if value is not None})
    if settlement.error_code is not None:
        level = "ERROR" if settlement.kind in FAILED else "WARNING"
        _fail(span, settlement.error_code, settlement.error or settlement.error_code, level)


def _fail(span: Span, code: str, said: str, level: str = "ERROR") -> None:
    if code:
        span.set_attribute("longhaul.error_code", code)
    span.set_attributes({LEVEL: level, STATUS: said})
    span.set_status(otel.Status(StatusCode.ERROR, said))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
