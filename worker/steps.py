"""The steps of one attempt, from the agent's edge to the writer: notes of what the calls do and what the models say
(tokens.py), redacted, bounded and never waited for, and what they got done (progress.py), which is.
"""

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import orjson

from agent.run_context import MAX_STEP_TEXT, StepEvent, TokenKind
from taskstore.claims import Claim
from taskstore.steps import StepBatch, StepNote

from . import observed
from .progress import Read, TaskProgress
from .storable import clean
from .tokens import Tokens

MOST_WAITING = 100
"""Notes of one attempt that wait for Redis; with more, the newest are dropped and counted."""
REDACTED_TAIL = 200
"""Characters that are taken off the end of a text that was cut: the beginning of a secret could stand there, which
nobody would know for one without its end. The beginning of a longer secret could stay."""

STEPS_AFTER_S = 0.1
"""How long notes wait for company."""

PUT_BACK_FOR_S = 1.0
"""How long a Redis that did not answer is left alone for the sake of tokens."""

Redact = Callable[[str], str]


def _nothing() -> None:
    pass


class StepLog:
    """`note` is the run's step listener. The writer takes what waits, and puts back what it could not write."""

    def __init__(
        self,
        claim: Claim,
        redact: Redact,
        on_note: Callable[["StepLog", float], None],
        read: Read | None = None,
        *,
        uncooled: Collection[str] = (),
        tokens: Tokens | None = None,
    ) -> None:
        """`on_note(log, seconds)` is called when notes or progress wait: within how many seconds to write them. `read`
        answers the progress of earlier attempts; None when there is none. `uncooled`: models without a cooldown.
        `tokens` takes what the models say, if anybody asked for it.
        """
        self.task_id = claim.task_id
        self.fence = claim.fence
        self._model = claim.model
        self._uncooled = uncooled
        self._calls_begun = 0
        self._calls_ended = 0
        self._redact = redact
        self._on_note = on_note
        self.progress = TaskProgress(lambda seconds: on_note(self, seconds), read)
        self.on_lost: Callable[[], None] = _nothing
        """Called when a write was refused: the lease is lost."""
        self._next = 1
        self._tokens = tokens
        self._waiting: list[StepNote | int] = []
        self._dropped = 0
        self._silent: dict[int, tuple[str, float]] = {}
        """Streamed model calls that have said nothing yet, by number: the model, and when the call began."""
        self._closed = False

    def note(self, event: StepEvent) -> None:
        self.progress.began(event.number)
        self._observe(event)
        if self._closed:  # a run that outlives its attempt
            return
        if event.kind == "model":
            self._calls_begun += event.phase == "start"
            self._calls_ended += event.phase == "end"
        nothing_waited = not self._waiting
        if self._tokens and event.phase == "end":
            self._waiting += self._tokens.end(event.number)
        if len(self._waiting) >= MOST_WAITING and sum(map(_is_step, self._waiting)) >= MOST_WAITING:
            self._dropped += 1
            return
        data: dict[str, Any] = {
            "kind": event.kind,
            "phase": event.phase,
            "number": event.number,
            "name": self._told(event.name) if event.kind == "step" else event.name,
            "arguments": self._told(event.arguments),
            "result": self._told(event.result),
            "error": self._told(event.error),
            "duration_ms": None if event.duration_ms is None else round(event.duration_ms),
        }
        if event.kind == "model" and event.phase == "end":
            data["cost_usd"] = event.cost_usd
            # a call that failed reports none, which is not zero
            data["usage"] = event.usage.as_dict() if event.usage and event.usage.total_tokens else None
        text = orjson.dumps({name: value for name, value in data.items() if value is not None}).decode()
        self._waiting.append(StepNote(text, time.monotonic(), self._told_gate(event)))
        if nothing_waited:
            self._on_note(self, STEPS_AFTER_S)

    def token(self, number: int, kind: TokenKind, text: str) -> None:
        """The run's token listener."""
        if (began := self._silent.pop(number, None)) is not None:
            observed.first_token(began[0], time.monotonic() - began[1])
        if self._tokens and not self._closed and (within_s := self._tokens.add(number, kind, text)) is not None:
            self._on_note(self, within_s)

    def remind(self) -> None:
        """What was not due when it was taken is to be taken when it is."""
        if self._tokens and self._tokens.some_wait and not self._closed:
            self._on_note(self, self._tokens.due_in())

    def take(self, *, progress: bool = True) -> StepBatch | None:
        """All that waits; None when nothing does. Notes alone without `progress`: a task that ends needs no more."""
        if self._dropped:
            self._waiting.append(self._dropped)
            self._dropped = 0
        if self._tokens:
            self._waiting += self._tokens.take(all_of_it=self._closed)
        got_done = self.progress.take() if progress else None
        if not self._waiting and got_done is None:
            return None
        batch = StepBatch(self._next, tuple(self._waiting), got_done)
        self._next += len(batch.notes)
        self._waiting = []
        return batch

    def put_back(self, batch: StepBatch) -> None:
        """After a write that may or may not have arrived: the same notes keep their numbers."""
        if self._tokens:
            self._tokens.wait(PUT_BACK_FOR_S)
        self._next = batch.first
        self._waiting = [*batch.notes, *self._waiting]
        if batch.progress is not None:
            self.progress.put_back(batch.progress)

    def written(self, batch: StepBatch) -> None:
        if self._tokens:
            self._tokens.written(batch.notes)
        if batch.progress is not None:
            self.progress.written(batch.progress)

    def close(self) -> None:
        """Nothing is noted from here on; what waits can still be taken."""
        self._closed = True
        self.progress.close()

    def lost(self) -> None:
        """A write was refused: another worker may have the task."""
        self.close()
        self.progress.refused("the lease is lost")
        self.on_lost()

    def drop(self, batch: StepBatch) -> None:
        """Notes that cannot be written are counted with the next ones that can."""
        self._next = batch.first
        self._dropped += sum(note if isinstance(note, int) else _is_step(note) for note in batch.notes)
        if self._tokens:
            self._tokens.dropped(batch.notes)

    @property
    def tells_of_failure(self) -> bool:
        """Whether its model's gate learns of a failure by the steps, or is to learn of none."""
        return self._calls_ended > 0 or self._model in self._uncooled

    def _told_gate(self, event: StepEvent) -> Sequence[str | int]:
        """What the model's gate is told of a call; see taskstore.steps.StepNote."""
        if event.kind != "model":
            return ()
        if event.phase == "start":
            return () if self._calls_begun == 1 else ("begun", event.name)  # the claim has paid for the first
        if event.name in self._uncooled:
            return ()
        if event.error is None:
            return "answered", event.name
        asked = () if event.retry_after is None else (round(event.retry_after * 1000),)
        return event.error, event.name, *asked

    def _observe(self, event: StepEvent) -> None:
        """Every call counts, also one whose note is dropped, or that outlives its attempt: it was made and paid for."""
        if event.phase == "end":
            self._silent.pop(event.number, None)
            observed.call(event)
        elif event.kind == "model" and self._tokens:
            self._silent[event.number] = event.name, time.monotonic()

    def _told(self, text: str | None) -> str | None:
        if text is None:
            return None
        redacted = self._redact(clean(text[:MAX_STEP_TEXT]))
        if len(text) >= MAX_STEP_TEXT:
            redacted = redacted[:-REDACTED_TAIL] + "…"
        return redacted


def _is_step(note: StepNote | int) -> bool:
    return isinstance(note, int) or not note.is_token
