"""The Python client of Longhaul: `Client` and `AsyncClient`. It needs httpx and nothing else. See docs/client.md."""

from longhaul_client.async_client import AsyncClient, AsyncEventStream
from longhaul_client.client import Client, EventStream
from longhaul_client.errors import LonghaulError, NotFinalError, TaskFailed, UnreachableError
from longhaul_client.events import Event, GapEvent, ResultEvent, StatusEvent, StepEvent, TokenEvent
from longhaul_client.messages import Reply
from longhaul_client.requests import ChatFields, TaskFields
from longhaul_client.task import ChatAnswer, Step, Submitted, Task

__all__ = [
    "AsyncClient",
    "AsyncEventStream",
    "ChatAnswer",
    "ChatFields",
    "Client",
    "Event",
    "EventStream",
    "GapEvent",
    "LonghaulError",
    "NotFinalError",
    "Reply",
    "ResultEvent",
    "StatusEvent",
    "Step",
    "StepEvent",
    "Submitted",
    "Task",
    "TaskFailed",
    "TaskFields",
    "TokenEvent",
    "UnreachableError",
]
