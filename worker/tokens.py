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
        self._ready: list[tuple[TokenKind, str, int]] = []
        self._lost = 0

    def add(self, kind: TokenKind, text: str) -> None:
        if kind != self._kind:
            self.end()
            self._kind = kind
        self._put(self._text.add(text))

    def lose(self, text: str) -> None:
        self._lost += len(text)

    def end(self) -> None:
        self._put(self._text.end())
        self._text = RedactedText(self._redactor)

    @property
    def size(self) -> int:
        return self._text.held + sum(len(text) for _, text, _ in self._ready)

    def take(self, *, over: bool) -> list[tuple[TokenKind, str, int]]:
        """Kind, text, and how many characters are missing before it. `over`: there is no more to come."""
        if over:
            self.end()
            if self._lost:
                self._ready.append((self._kind, "", self._lost))
        ready, self._ready = self._ready, []
        return ready

    def _put(self, text: str) -> None:
        if not text:
            return
        if self._ready and self._ready[-1][0] == self._kind and not self._lost:
            self._ready[-1] = (self._kind, self._ready[-1][1] + text, self._ready[-1][2])
        else:
            self._ready.append((self._kind, text, self._lost))
            self._lost = 0


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
        first = number not in self._calls
        if first:
            self._calls[number] = _Words(self._redactor)
        call = self._calls[number]
        if self._taken + sum(one.size for one in self._calls.values()) + len(text) > MOST_WAITING:
            call.lose(text)
            return None
        call.add(kind, clean(text))
        if first:
            self._due = min(self._due, time.monotonic())
        elif self._announced:
            return None
        self._announced = True
        return self.due_in()

    def end(self, number: int) -> list[StepNote]:
        """What is left of a call that is over."""
        call = self._calls.pop(number, None)
        return [] if call is None else self._notes(number, call, over=True)

    def take(self, *, all_of_it: bool = False) -> list[StepNote]:
        """What is due, or all that there is."""
        if all_of_it:
            return [note for number in list(self._calls) for note in self.end(number)]
        if not self._announced or self.due_in() > EARLY_S:
            return []
        self._announced = False
        notes = [note for number, call in self._calls.items() for note in self._notes(number, call, over=False)]
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

    def _notes(self, number: int, call: _Words, *, over: bool) -> list[StepNote]:
        notes = []
        for kind, text, missing in call.take(over=over):
            lost, self._lost = missing + self._lost, 0
            about: list[str | int] = ["token", number, kind, lost]
            notes.append(StepNote(text, time.monotonic(), about if lost else about[:-1]))
            self._entries += 1
            self._taken += len(text)
        return notes


def _size(notes: Sequence[StepNote | int]) -> int:
    """Characters of the tokens among them."""
    return sum(len(note.text) for note in notes if isinstance(note, StepNote) and note.is_token)
