"""The protocol of a stream: connects, goes on where it was when a connection ends, and hands each event on once."""

from collections.abc import Generator
from typing import Any, Final

from longhaul_client import requests
from longhaul_client.errors import UnreachableError
from longhaul_client.events import Event, GapEvent, ResultEvent, event_of
from longhaul_client.judgement import refusal, unreadable
from longhaul_client.messages import Call, Lost, Need, Open, Pause, Read, Reply
from longhaul_client.protocol import Protocol
from longhaul_client.sse import Frame, SseParser

ALIVE_S: Final = 5.0
"""A connection that lasted so long was one, though nothing came: the next failure is a first one."""
MEDIA_TYPE: Final = "text/event-stream"


class Following:
    """One stream: of a task's events, or, with `opening`, of those of the task that this call makes."""

    def __init__(
        self, protocol: Protocol, task_id: str | None, after: str | None, *, tokens: bool, opening: Call | None = None
    ) -> None:
        self._protocol = protocol
        self.task_id = task_id
        """None until the gateway has named it."""
        self._after = after
        self._tokens = tokens
        self._opening = opening
        self._gap: GapEvent | None = None
        """The last that was handed on, while nothing came after it: a gap has no id, so it is sent again."""

    def events(self) -> Generator[Need | Event, Any, None]:
        """What it needs of a transport, and between that the events."""
        patience = self._protocol.patience()
        while True:
            answer: Reply | Lost = yield Open(self._call())
            retry_s = 0.0
            if (error := refusal(answer, self._protocol.url)) is None:
                assert isinstance(answer, Reply)  # noqa: S101  a lost one is refused
                if answer.status == 204:  # its result was seen before
                    return
                self._check(answer)
                parser, opened = SseParser(), self._protocol.clock()
                cut = yield from self._until_cut(parser)
                if cut is None:
                    return
                if parser.has_heard or self._protocol.clock() - opened >= ALIVE_S:
                    patience.renew()
                answer, error = cut, UnreachableError(f"the stream from {self._protocol.url} ended", cut.reason)
                retry_s = parser.retry_s or 0.0
            if isinstance(answer, Lost) and answer.by_caller:
                patience.renew()
            else:
                yield Pause(patience.pause(error, retry_s))

    def _until_cut(self, parser: SseParser) -> Generator[Need | Event, Any, Lost | None]:
        """How the connection ended; None when that was with the result."""
        while True:
            piece: bytes | Lost = yield Read()
            if isinstance(piece, Lost):
                parser.retry_s = None  # that pause is asked for by a gateway that stops, and this one was cut off
                return piece
            if not piece:
                return Lost("the task has no result yet")
            for frame in parser.feed(piece):
                if (event := self._taken(frame)) is not None:
                    yield event
                if isinstance(event, ResultEvent):
                    return None

    def _taken(self, frame: Frame) -> Event | None:
        """Notes the place; None for what is not to be handed on."""
        try:
            event = event_of(frame)
        except (KeyError, TypeError, ValueError, AttributeError) as fault:
            raise unreadable(self._protocol.url, fault) from fault
        if isinstance(event, GapEvent):
            known, self._gap = self._gap, event
            return None if event == known else event
        if frame.id is not None:
            self._after, self._gap = frame.id, None
        return event

    def _call(self) -> Call:
        silence_s = self._protocol.limits.silence_s
        if self.task_id is not None:
            return requests.following(self.task_id, self._after, silence_s, tokens=self._tokens)
        assert self._opening is not None  # noqa: S101  one of the two is given
        return self._opening

    def _check(self, answer: Reply) -> None:
        """Raises LonghaulError when it is no stream; takes the task's id from its head."""
        if not answer.headers.get("content-type", "").startswith(MEDIA_TYPE):
            raise unreadable(self._protocol.url, ValueError("no event stream"))
        if self.task_id is None:
            _, _, task_id = answer.headers.get("location", "").rpartition("/task/")
            if not task_id:
                raise unreadable(self._protocol.url, ValueError("a stream that names no task"))
            self.task_id = task_id
