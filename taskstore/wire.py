"""One connection to Redis for the verbs of a whole process: each is written at once, behind those that wait for their
answers, and Redis answers in order.

A client that takes a connection out of a pool for each command pays for that five times what the command itself costs.
Nothing waits for longer for sharing one: Redis runs one command at a time whichever connections they come on. What
blocks does not belong here.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import hiredis
from redis.asyncio.connection import DefaultParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

LATE_LOOP_S = 0.05
"""A loop that was held up runs its timers before it reads: what has come meanwhile gets so long to be read."""

CLOSED = "Connection closed by server."
NOTHING_YET = object()


Words = tuple[str | bytes | float, ...]


class Handed(Protocol):
    """A connection that redis-py opens, whose bytes somebody else then reads and writes."""

    async def connect(self) -> None: ...

    def hand_over(self, protocol: asyncio.Protocol) -> asyncio.Transport: ...

    def close_handed(self) -> None: ...


class Wire:
    def __init__(self, make_connection: Callable[[], Handed], timeout_s: float | None) -> None:
        """Connects at the first command. `timeout_s` None: answers may take as long as they take."""
        self._make_connection = make_connection
        self._timeout_s = timeout_s
        self._line: _Line | None = None
        self._connecting: asyncio.Task[_Line] | None = None

    async def send(self, *words: str | bytes | float) -> Any:
        """Redis's answer. Raises RedisError: a ConnectionError when the connection was closed before the answer came, a
        TimeoutError when it did not come in time, and what Redis itself answers. Nothing is sent twice.
        """
        line = self._line
        if line is None or not line.is_usable:
            line = await self._connected()
        return await line.ask(_packed(words))

    async def aclose(self) -> None:
        """Whoever still waits gets a ConnectionError. The next command would connect again."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._line is not None:
            self._line.close()
            await self._line.closed
            self._line = None

    async def _connected(self) -> "_Line":
        """One connection for all who wait for one, whichever of them leaves."""
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect(), name="redis wire")
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> "_Line":
        try:
            connection = self._make_connection()
            try:
                await connection.connect()
                self._line = _Line(connection, self._timeout_s)
            except BaseException:
                connection.close_handed()
                raise
            return self._line
        finally:
            self._connecting = None


class _Line(asyncio.Protocol):
    """One connection's life. It takes commands until an answer is overdue, and is closed when all that it has taken are
    answered or overdue too: what is only slow gets its answer, and nobody new queues behind what may be dead.
    """

    def __init__(self, connection: Handed, timeout_s: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=DefaultParser.parse_error,
            encoding="utf-8",
            errors="replace",
            notEnoughData=NOTHING_YET,
        )
        self._timeout_s = timeout_s
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._is_overdue = False
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._connection = connection
        self._transport = connection.hand_over(self)

    @property
    def is_usable(self) -> bool:
        return not (self._is_overdue or self._transport.is_closing())

    def ask(self, command: bytes) -> asyncio.Future[Any]:
        if self._transport.is_closing():
            raise RedisConnectionError(CLOSED)
        answer: asyncio.Future[Any] = self._loop.create_future()
        if self._timeout_s is not None:
            self._waiting.append((self._loop.time() + self._timeout_s, answer))
            if self._timer is None:
                self._timer = self._loop.call_later(self._timeout_s, self._give_late_loop_time)
        else:
            self._waiting.append((0.0, answer))
        self._transport.write(command)
        return answer

    def close(self) -> None:
        self._transport.abort()

    # -- the transport's

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (answer := self._reader.gets()) is not NOTHING_YET:
                self._answered(answer)
        except RedisError:  # not what Redis says, or more than was asked for: which answer is whose, nobody knows
            self.close()
            return
        if self._is_overdue and not self._waiting:
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for _, answer in self._waiting:
            if not answer.done():
                answer.set_exception(RedisConnectionError(f"{CLOSED} {error or ''}".rstrip()))
        self._waiting.clear()
        self._connection.close_handed()
        self.closed.set_result(None)

    def _answered(self, said: Any) -> None:
        if not self._waiting:
            raise InvalidResponse(f"nobody has asked: {said!r}")
        _, answer = self._waiting.popleft()
        if answer.done():  # whoever asked has left, or was told that it is overdue
            return
        if isinstance(said, Exception):
            answer.set_exception(said)
        else:
            answer.set_result(said)

    # -- time

    def _give_late_loop_time(self) -> None:
        self._timer = self._loop.call_later(LATE_LOOP_S, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        for until, answer in self._waiting:
            if until > now:
                self._timer = self._loop.call_later(until - now, self._give_late_loop_time)
                return
            self._is_overdue = True
            if not answer.done():
                answer.set_exception(RedisTimeoutError("Timeout reading from Redis"))
        if self._is_overdue:
            self.close()


def _packed(words: Words) -> bytes:
    pack: Callable[[Words], bytes] = hiredis.pack_command  # type: ignore[assignment]  # its stub takes one word
    try:
        return pack(words)
    except UnicodeEncodeError:  # half of a surrogate pair, which is no character
        return pack(tuple(word.encode(errors="replace") if isinstance(word, str) else word for word in words))
