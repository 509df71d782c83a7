"""The answer that follows a task: server-sent events until the result, the client's leave, or a shutdown.

Its watcher costs one task of the event loop and no Redis command while nothing happens. Whoever takes nothing from the
connection is let go after a time: what waits for it is bounded by the connection's buffer.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Literal

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from monitoring import metrics
from taskstore.errors import StoreUnavailable, TaskNotFound
from taskstore.events import TaskEvent
from taskstore.follow import News, Watch
from taskstore.store import ANY_CALLER

from .event_frames import RESULT_SUFFIX, comment, dropped, frame, frame_of, gap
from .reading import view_of
from .running import Gateway
from .waiting import left

MEDIA_TYPE = "text/event-stream"
HEADERS = {"X-Accel-Buffering": "no"}
"""nginx passes such an answer on as it comes. `Cache-Control: no-store` is on every answer."""
RETRY_MS = (500, 2_000)
"""After how long a browser comes back: each after another time, since a shutdown sends all of them away at once."""
STALLED_AFTER_S = 30.0
AGAIN_AFTER_S = 0.5
CHUNK_BYTES = 32_768
DROP = "longhaul.drop"
"""The server's extension (server.py): ends the connection of a reader who takes nothing."""

Ended = Literal["result", "left", "stalled", "shutdown", "gone"]

log = logging.getLogger(__name__)


class EventStream(Response):
    """Who may see the task, and that `after` is one of its events, was asked before."""

    media_type = MEDIA_TYPE

    def __init__(
        self,
        gateway: Gateway,
        task_id: str,
        *,
        after: str | None = None,
        final: bool = False,
        tokens: bool = False,
        on_leave: Callable[[], Awaitable[None]] | None = None,
        status_code: int = 200,
    ) -> None:
        """`final`: the task was final when it was last read. `on_leave` is called when the client goes away, or takes
        nothing any more, before the result. `status_code` is there for FastAPI, which reads its default.
        """
        self.status_code = status_code
        self.background = None
        self.init_headers(HEADERS)
        self._gateway = gateway
        self._task_id = task_id
        self._after = after
        self._final = final
        self._tokens = tokens
        self._on_leave = on_leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        async with self._gateway.follower.follow(self._task_id, self._after) as watch:
            leaving = asyncio.create_task(left(receive))
            leaving.add_done_callback(lambda _: watch.wake())
            metrics.STREAMS.inc()
            try:
                await send(start)
                ended = await self._follow(watch, leaving, send)
            finally:
                metrics.STREAMS.dec()
                leaving.cancel()
        metrics.STREAMS_ENDED.labels(ended).inc()
        if ended == "stalled":
            log.warning("stream_dropped", extra={"reason": ended})
            if extension := scope.get("extensions", {}).get(DROP):
                extension["drop"](dropped())
        elif ended != "left":
            await send({"type": "http.response.body", "body": b""})
        if self._on_leave is not None and ended in {"left", "stalled"}:
            await self._on_leave()

    async def _follow(self, watch: Watch, leaving: "asyncio.Task[None]", send: Send) -> Ended:
        """Sends what comes. Answers why it ended."""
        clock = asyncio.get_running_loop().time
        keepalive_s = self._gateway.settings.stream_keepalive_seconds
        text = b"retry: %d\n\n" % random.randint(*RETRY_MS)  # noqa: S311  it spreads, it hides nothing
        while True:
            if text:
                if not await _sent(send, text):
                    return "stalled"
                text, silent_until = b"", clock() + keepalive_s
            if leaving.done():
                return "left"
            if self._gateway.stopping.is_set():
                return await _end(send, "shutdown", comment("this gateway is being restarted; connect again"))
            left_s = silent_until - clock()
            try:
                before, news = watch.after, await watch.news()
                if news.gone:
                    return await _end(send, "gone", b"")
                text = self._text(news, before)
                if news.events:
                    self._final = news.events[-1].is_final
                elif self._final and (result := await self._result(watch)):
                    return await _end(send, "result", result)
                elif not news.missed:
                    await watch.changed(left_s)
            except StoreUnavailable:
                await watch.changed(min(AGAIN_AFTER_S, left_s))
            except TaskNotFound:
                return await _end(send, "gone", b"")
            if not text and clock() >= silent_until:
                text = comment("still here")

    def _text(self, news: News, before: str | None) -> bytes:
        parts = [gap(self._task_id, before)] if news.missed else []
        parts += [frame_of(self._task_id, event) for event in news.events if self._wants(event)]
        return b"".join(parts)

    def _wants(self, event: TaskEvent) -> bool:
        return self._tokens or event.type != "token"

    async def _result(self, watch: Watch) -> bytes | None:
        """The last event, when the task is final and all before it was sent. The same for all who watch it here."""
        answer: bytes | None = await watch.once(watch.after, lambda: self._make_result(watch.after))
        if answer is None:
            self._final = False
        return answer

    async def _make_result(self, after: str | None) -> bytes | None:
        record = await self._gateway.store.get(self._task_id, ANY_CALLER)
        if not record.is_final:
            return None
        view, _ = await view_of(self._gateway, record, ANY_CALLER)
        page = await self._gateway.follower.reader.after(self._task_id, after)
        if page.events:  # an operator's replay came in between
            return None
        return frame("result", view, f"{after}{RESULT_SUFFIX}")


async def _sent(send: Send, text: bytes) -> bool:
    """Whether the connection took it, or has room for it, in time."""
    for at in range(0, len(text), CHUNK_BYTES):
        try:
            async with asyncio.timeout(STALLED_AFTER_S):
                await send({"type": "http.response.body", "body": text[at : at + CHUNK_BYTES], "more_body": True})
        except TimeoutError:
            return False
    return True


async def _end(send: Send, why: Ended, last: bytes) -> Ended:
    return why if await _sent(send, last) else "stalled"
