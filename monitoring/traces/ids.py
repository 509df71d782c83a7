"""What a trace and its spans are called. Loads no library: the gateway makes trace ids too, by these rules.

A task's trace is the one that its caller's W3C `traceparent` names, else it is called as the task is. So every attempt,
on whatever worker, finds the same trace, and the same root in it.
"""

import hashlib
import re
from dataclasses import dataclass

from core_config import Settings

_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_SAMPLED = 0x01
_LOW_64_BITS = 2**64


@dataclass(frozen=True, slots=True)
class ParentSpan:
    """The span of the caller that submitted a task. Ids are hexadecimal."""

    trace_id: str
    span_id: str
    sampled: bool
    """Whether the caller sends its span anywhere. If not, nothing can hang under it."""


def parent_of(traceparent: str | None) -> ParentSpan | None:
    """What a traceparent header says, by https://www.w3.org/TR/trace-context/; None when it is not valid."""
    found = _TRACEPARENT.fullmatch(traceparent or "")
    if found is None or found["version"] == "ff" or (found["version"] == "00" and found["more"]):
        return None
    if not int(found["trace"], 16) or not int(found["parent"], 16):
        return None
    return ParentSpan(found["trace"], found["parent"], bool(int(found["flags"], 16) & _SAMPLED))


def callers_trace_of(traceparent: str | None) -> str | None:
    """The trace that the caller named, if it named one."""
    parent = parent_of(traceparent)
    return parent.trace_id if parent else None


def trace_id_of(task_id: str, traceparent: str | None = None) -> str:
    """32 hexadecimal digits."""
    if named := callers_trace_of(traceparent):
        return named
    if _TRACE_ID.fullmatch(task_id) and int(task_id, 16):
        return task_id
    return hashlib.sha256(task_id.encode()).hexdigest()[:32]


def span_id_of(task_id: str, what: str) -> int:
    """The id of the task's span `what`: never 0, and the same whoever asks."""
    return int.from_bytes(hashlib.sha256(f"{task_id} {what}".encode()).digest()[:8]) or 1


def is_sampled(trace_id: str, rate: float) -> bool:
    """Whether that share of all traces holds this one: as OpenTelemetry's ratio sampler decides it, and so for all
    attempts and all tasks of a trace alike.
    """
    return int(trace_id, 16) % _LOW_64_BITS < rate * _LOW_64_BITS


def has_langfuse(settings: Settings) -> bool:
    return bool(settings.langfuse_public_key and settings.langfuse_secret_key)


def trace_url_of(settings: Settings, task_id: str, traceparent: str | None) -> str | None:
    """Where people see the task's trace; None when it has none or nobody knows where."""
    trace_id = trace_id_of(task_id, traceparent)
    is_sent = has_langfuse(settings) or settings.otel_exporter_otlp_endpoint
    if not is_sent or not is_sampled(trace_id, settings.langfuse_sample_rate):
        return None
    if settings.trace_url:
        return settings.trace_url.replace("{trace_id}", trace_id)
    # Langfuse itself knows the project, which its keys stand for, and leads there
    return f"{settings.langfuse_host.rstrip('/')}/trace/{trace_id}" if has_langfuse(settings) else None
