"""What an attempt's models say, on its way from the agent's edge to the writer: in few entries, redacted, bounded and
never waited for.

The first words of a model call are to be written at once, those that follow when TOKENS_AFTER_S have passed since the
last were; nothing waits for more to come, save what looks like the beginning of a secret.
"""

import time
from collections.abc import Sequence

from agent.run_context import TokenKind
from monitoring.logs import Redactor
from monitoring.redacted_text import RedactedText
from taskstore.steps import StepNote

from .storable import clean

TOKENS_AFTER_S = 0.04
SLOWER_AFTER = 250
"""Entries of an attempt after which the next one takes twice as long, after twice as many thrice, and so on: an answer
of a quarter of an hour fits into the entries that a task may have.
"""
MOST_WAITING = 65_536
"""Characters of one attempt that wait for Redis; with more, the newest are dropped and counted."""
EARLY_S = 0.002
"""By which the event loop's timers may be early."""


class _Words:
    """What one model call has said and nobody has taken yet."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._kind: TokenKind = "text"
        self._text = RedactedText(redactor)
        self._ready: list[tuple[TokenKind, str]] = []

    def add(self, kind: TokenKind, text: str) -> None:
        if kind != self._kind:
            self.end()
            self._kind = kind
        self._put(self._text.add(text))

    def end(self) -> None:
        self._put(self._text.end())
        self._text = RedactedText(self._redactor)

    @property
    def size(self) -> int:
        return self._text.held + sum(len(text) for _, text in self._ready)

    def take(self) -> list[tuple[TokenKind, str]]:
        ready, self._ready = self._ready, []
        return ready

    def _put(self, text: str) -> None:
        if not text:
            return
        if self._ready and self._ready[-1][0] == self._kind:
            self._ready[-1] = (self._kind, self._ready[-1][1] + text)
        else:
            self._ready.append((self._kind, text))


class Tokens:
    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._calls: dict[int, _Words] = {}
        self._taken = 0
        self._lost = 0
        self._entries = 0
        self._due = 0.0
        self._announced = False

    def add(self, number: int, kind: TokenKind, text: str) -> float | None:
        """More of what the model call of that step number says. Within how many seconds to take it; None when that was
        said of what it goes with.
        """
        if self._taken + sum(call.size for call in self._calls.values()) + len(text) > MOST_WAITING:
            self._lost += len(text)
            return None
        call = self._calls.get(number)
        if call is None:
            call = self._calls[number] = _Words(self._redactor)
            self._due = min(self._due, time.monotonic())
            self._announced = False
        call.add(kind, clean(text))
        if self._announced:
            return None
        self._announced = True
        return self.due_in()

    def end(self, number: int) -> list[StepNote]:
        """What is left of a call that is over."""
        call = self._calls.pop(number, None)
        if call is None:
            return []
        call.end()
        notes = self._notes(number, call)
        return notes if not self._lost else [*notes, self._note(number, "text", "")]

    def take(self, *, all_of_it: bool = False) -> list[StepNote]:
        """What is due, or all that there is."""
        if all_of_it:
            return [note for number in list(self._calls) for note in self.end(number)]
        if not self._announced or self.due_in() > EARLY_S:
            return []
        self._announced = False
        notes = [note for number, call in self._calls.items() for note in self._notes(number, call)]
        if notes:
            self.wait(TOKENS_AFTER_S * (1 + self._entries / SLOWER_AFTER))
        return notes

    def wait(self, seconds: float) -> None:
        """Nothing is due before."""
        self._due = time.monotonic() + seconds

    def due_in(self) -> float:
        return max(0.0, self._due - time.monotonic())

    @property
    def some_wait(self) -> bool:
        return self._announced

    def written(self, notes: Sequence[StepNote | int]) -> None:
        self._taken -= _size(notes)

    def dropped(self, notes: Sequence[StepNote | int]) -> None:
        """Those could not be written."""
        self.written(notes)
        self._lost += _size(notes)

    def _notes(self, number: int, call: _Words) -> list[StepNote]:
        return [self._note(number, kind, text) for kind, text in call.take()]

    def _note(self, number: int, kind: TokenKind, text: str) -> StepNote:
        about: list[str | int] = ["token", number, kind]
        if self._lost:
            about.append(self._lost)
            self._lost = 0
        self._entries += 1
        self._taken += len(text)
        return StepNote(text, time.monotonic(), about)


def _size(notes: Sequence[StepNote | int]) -> int:
    """Characters of the tokens among them."""
    return sum(len(note.text) for note in notes if isinstance(note, StepNote) and note.is_token)
