"""The client for asyncio. The same calls as client.py, on the same protocol."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Generator, Mapping
from typing import Any, Self, TypeVar, Unpack

import httpx

from longhaul_client import requests
from longhaul_client.address import Address
from longhaul_client.events import Event
from longhaul_client.following import Following
from longhaul_client.messages import Lost, Need, Open, Pause, Read, Reply, Send
from longhaul_client.protocol import Limits, Protocol, Steps
from longhaul_client.requests import ChatFields, TaskFields
from longhaul_client.task import ChatAnswer, Submitted, Task
from longhaul_client.transport import client_settings, lost, reply_of, request_settings

T = TypeVar("T")


class AsyncClient:
    """One gateway, or several behind one address. Tasks of one event loop may share it. `async with` closes its
    connections; cancelling a call closes its own.

    Raises LonghaulError (errors.py), and ValueError for an argument that can be none. All times are seconds.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        retry_for_s: float = Limits.retry_for_s,
        connect_timeout_s: float = Limits.connect_s,
        answer_timeout_s: float = Limits.answer_s,
        silence_timeout_s: float = Limits.silence_s,
    ) -> None:
        """Unset, `url` and `api_key` are LONGHAUL_URL (http://127.0.0.1:8000 without it) and LONGHAUL_API_KEY.

        `retry_for_s`: how long after its first failure a call is still sent again. `answer_timeout_s`: how long an
        answer may be silent, beyond a wait that was asked for; `silence_timeout_s`: how long a stream may.
        """
        address = Address.of(url, api_key)
        self.url = address.url
        self._limits = Limits(retry_for_s, connect_timeout_s, answer_timeout_s, silence_timeout_s)
        self._http = httpx.AsyncClient(**client_settings(address))
        self._protocol = Protocol(address.url, self._limits, time.monotonic, random.Random())  # noqa: S311  it spreads

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def submit(
        self, message: str | None = None, *, idempotency_key: str | None = None, **fields: Unpack[TaskFields]
    ) -> Submitted:
        """Queues a task. Without an `idempotency_key` of yours it gets one, so that however often the call has to be
        sent it makes one task; with yours, a call of another process or of tomorrow makes no second one either.
        """
        return await self._run(self._protocol.submit(message, fields, idempotency_key))

    async def get(self, task_id: str) -> Task:
        """The task as it stands."""
        return await self._run(self._protocol.get(task_id))

    async def wait(self, task_id: str, timeout_s: float | None = None) -> Task:
        """The task once it has ended, however it did: `answer()` tells. NotFinalError when it has not by then."""
        return await self._run(self._protocol.wait(task_id, timeout_s))

    async def cancel(self, task_id: str) -> str:
        """`cancelled`, or `running`: it was asked to stop and does so shortly. A task that ended otherwise is a
        LonghaulError `wrong_status`.
        """
        return await self._run(self._protocol.cancel(task_id))

    async def chat(
        self, message: str, *, idempotency_key: str | None = None, **fields: Unpack[ChatFields]
    ) -> ChatAnswer:
        """Runs the message before queued tasks, and waits for its answer however long it takes. TaskFailed without."""
        return await self._run(self._protocol.chat(message, fields, idempotency_key))

    def stream(self, task_id: str, *, tokens: bool = False, after: str | None = None) -> "AsyncEventStream":
        """All that has happened to the task and all that will, each once, up to its result. `after`: the `id` of the
        last event that was seen. `tokens`: also what the models say as they say it, of a task that was submitted with
        `stream=True`.
        """
        requests.task_path(task_id)
        return AsyncEventStream(self._line(), Following(self._protocol, task_id, after, tokens=tokens))

    def chat_stream(
        self, message: str, *, idempotency_key: str | None = None, **fields: Unpack[ChatFields]
    ) -> "AsyncEventStream":
        """As `chat`, but its events as they come, with what the models say. To stop reading does not stop the task."""
        call = requests.submitting("/chat/stream", message, fields, idempotency_key, self._limits.silence_s)
        return AsyncEventStream(self._line(), Following(self._protocol, None, None, tokens=True, opening=call))

    async def request(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: object = None
    ) -> Reply:
        """Any other route, such as `GET /agents`. It is sent again as the calls above are: call it for what may be sent
        twice.
        """
        return await self._run(self._protocol.request(requests.other(method, path, query, body, self._limits.answer_s)))

    def _line(self) -> "Line":
        return Line(self._http, self._limits)

    async def _run(self, steps: Steps[T]) -> T:
        line, answer = self._line(), None
        while True:
            try:
                need = steps.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            answer = await line.do(need)


class AsyncEventStream(AsyncIterator[Event]):
    """The events of one task, from `stream`. `async with` closes its connection when you leave before the result."""

    def __init__(self, line: "Line", following: Following) -> None:
        self._line = line
        self._following = following
        self._steps: Generator[Need | Event, Any, None] = following.events()
        self._answer: Any = None

    @property
    def task_id(self) -> str | None:
        """Of `chat_stream` known from the first event on."""
        return self._following.task_id

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def __anext__(self) -> Event:
        try:
            while True:
                need = self._steps.send(self._answer)
                self._answer = None
                if isinstance(need, Event):
                    return need
                # if this is cancelled, the next call connects again and goes on after the last event
                self._answer = Lost("the caller stopped waiting", by_caller=True)
                self._answer = await self._line.do(need)
        except StopIteration:
            await self._line.aclose()
            raise StopAsyncIteration from None
        except BaseException:
            await self._line.aclose()
            raise

    async def aclose(self) -> None:
        self._steps.close()
        await self._line.aclose()


class Line:
    """Does what the protocol needs, for one call or one stream."""

    def __init__(self, http: httpx.AsyncClient, limits: Limits) -> None:
        self._http = http
        self._limits = limits
        self._open: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None

    async def do(self, need: Need) -> Reply | Lost | bytes | None:
        try:
            match need:
                case Pause(seconds):
                    await asyncio.sleep(seconds)
                    return None
                case Send(call):
                    response = await self._http.request(**request_settings(call, self._limits))
                    return reply_of(response, response.content)
                case Open(call):
                    await self.aclose()
                    request = self._http.build_request(**request_settings(call, self._limits))
                    self._open = await self._http.send(request, stream=True)
                    if self._open.status_code != httpx.codes.OK:
                        return reply_of(self._open, await self._open.aread())
                    self._pieces = self._open.aiter_bytes()
                    return reply_of(self._open, b"")
                case Read():
                    return b"" if self._pieces is None else await anext(self._pieces, b"")
        except httpx.RequestError as error:
            return lost(error, self._limits)

    async def aclose(self) -> None:
        if self._open is not None:
            await self._open.aclose()
            self._open = None
