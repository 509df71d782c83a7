"""The protocol, without input or output: each call is a generator that yields what it needs of a transport
(messages.py) and is sent what became of it. client.py and async_client.py drive the same generators.
"""

import math
import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from longhaul_client import requests
from longhaul_client.errors import LonghaulError, NotFinalError
from longhaul_client.judgement import refusal, seconds, unreadable
from longhaul_client.messages import Call, Lost, Need, Pause, Reply, Send
from longhaul_client.patience import Patience
from longhaul_client.task import ChatAnswer, Submitted, Task

T = TypeVar("T")
Steps = Generator[Need, Any, T]

LONGEST_WAIT_S: Final = 30.0
"""Of one `?wait=`: below what proxies in front of a gateway let a silent connection live."""
POLL_AGAIN_S: Final = 1.0
"""When the gateway does not say."""
LATE_S: Final = 5.0
"""How much later than it was asked for an answer may come when the caller has set a time."""
CHAT_S: Final = 60.0
"""How long a gateway makes a chat wait, as shipped. Where it is longer the chat is sent again, and found again."""


@dataclass(frozen=True)
class Limits:
    """In seconds."""

    retry_for_s: float = 60
    """No attempt begins later than that after the first failure; 0 makes one attempt."""
    connect_s: float = 5
    answer_s: float = 30
    """How long an answer may be silent, beyond a wait that was asked for."""
    silence_s: float = 45
    """How long a stream may be: three of the gateway's keep-alives (STREAM_KEEPALIVE_SECONDS)."""

    def __post_init__(self) -> None:
        if not 0 <= self.retry_for_s < math.inf:
            raise ValueError(f"retry_for_s is {self.retry_for_s}: give seconds, 0 or more")
        for name in ("connect_s", "answer_s", "silence_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: give seconds, more than 0")


class Protocol:
    def __init__(self, url: str, limits: Limits, clock: Callable[[], float], spread: random.Random) -> None:
        """`clock`: monotonic seconds."""
        self.url = url
        self.limits = limits
        self.clock = clock
        self._spread = spread

    def patience(self) -> Patience:
        return Patience(self.limits.retry_for_s, self.clock, self._spread)

    def request(self, call: Call) -> Steps[Reply]:
        """Any call, until it succeeds. LonghaulError when it is refused, or too long in vain."""
        patience = self.patience()
        while True:
            answer: Reply | Lost = yield Send(call)
            if (error := refusal(answer, self.url)) is None:
                assert isinstance(answer, Reply)  # noqa: S101  a lost one is refused
                return answer
            yield Pause(patience.pause(error))

    def submit(self, message: str | None, fields: Mapping[str, Any], idempotency_key: str | None) -> Steps[Submitted]:
        call = requests.submitting("/task", message, fields, idempotency_key, self.limits.answer_s)
        reply = yield from self.request(call)
        return self.read(reply, Submitted.of)

    def get(self, task_id: str) -> Steps[Task]:
        reply = yield from self.request(requests.looking(task_id, self.limits.answer_s))
        return self.read(reply, Task.of)

    def cancel(self, task_id: str) -> Steps[str]:
        reply = yield from self.request(requests.cancelling(task_id, self.limits.answer_s))
        return self.read(reply, lambda body: str(body["status"]))

    def wait(self, task_id: str, timeout_s: float | None) -> Steps[Task]:
        began = self.clock()
        until = math.inf if timeout_s is None else began + max(0.0, timeout_s)
        patience = self.patience()
        task: Task | None = None
        early = 0
        while True:
            asked_at = self.clock()
            wait_s = max(0.0, min(LONGEST_WAIT_S, until - asked_at))
            silence_s = self.limits.answer_s if timeout_s is None else min(self.limits.answer_s, LATE_S)
            answer: Reply | Lost = yield Send(requests.looking(task_id, silence_s, wait_s))
            error = refusal(answer, self.url)
            if error is None:
                assert isinstance(answer, Reply)  # noqa: S101  a lost one is refused
                task = self.read(answer, Task.of)
                if task.is_final:
                    return task
                patience.renew()
                waited_s = self.clock() - asked_at
                # one that answers early restarts, and the next one waits; if none does, its pace is kept
                early = early + 1 if waited_s < wait_s * 0.9 else 0
                told = seconds(answer.headers.get("retry-after"))
                pace = POLL_AGAIN_S if told is None or early == 1 else told
                pause = max(0.0, pace - waited_s) if early else 0.0
            else:
                pause = patience.pause(error)
            left = until - self.clock()
            if left <= 0:
                raise self._not_final(task_id, timeout_s or 0, task) from error
            if pause:
                yield Pause(min(pause, left))

    def _not_final(self, task_id: str, timeout_s: float, task: Task | None) -> NotFinalError:
        seen = f"has not ended within {timeout_s:g} s" if task is None else f"is {task.status} after {timeout_s:g} s"
        return NotFinalError(f"Task {task_id} {seen}. It goes on; wait for it again.", task)

    def chat(self, message: str, fields: Mapping[str, Any], idempotency_key: str | None) -> Steps[ChatAnswer]:
        call = requests.submitting("/chat", message, fields, idempotency_key, self.limits.answer_s + CHAT_S)
        try:
            reply = yield from self.request(call)
        except LonghaulError as error:
            if error.task_id is None:
                raise
            # it failed, or takes longer than the gateway waits: either way the task says what became of it
            task = yield from self.wait(error.task_id, None)
            return ChatAnswer.of_task(task)
        return self.read(reply, ChatAnswer.of)

    def read(self, reply: Reply, shape: Callable[[Any], T]) -> T:
        """LonghaulError when the body has another shape."""
        try:
            return shape(reply.json())
        except (KeyError, TypeError, ValueError, AttributeError) as fault:
            raise unreadable(self.url, fault) from fault
