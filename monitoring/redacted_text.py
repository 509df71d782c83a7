"""A text that comes in pieces, without the secrets in it, also those that come in several pieces."""

from .logs import REDACTED, Redactor

LOOKS_BACK = 16
"""Characters that were shown and are still looked at: as many as a secret can begin with before it is told for one."""
LONGEST_HELD = 4096


class RedactedText:
    """`add` and `end` answer what may be shown. What looks like the beginning of a secret waits for what follows it,
    whatever the time: only then is it known for what it is. Everything else is shown at once.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._text = ""
        self._shown = 0

    def add(self, piece: str) -> str:
        self._text += piece
        until = self._redactor.begun(self._text)
        if len(self._text) - until > LONGEST_HELD:
            until = len(self._text)
        return self._show(until)

    @property
    def held(self) -> int:
        """Characters that wait."""
        return len(self._text) - self._shown

    def end(self) -> str:
        """The rest; there is no more to come."""
        return self._show(len(self._text))

    def _show(self, until: int) -> str:
        shown, at = [], self._shown
        for begins, ends in self._redactor.places(self._text):
            if begins >= until:
                break
            if ends > at:
                shown += [self._text[at : max(at, begins)], REDACTED]
                at = ends
        until = max(until, at)  # what was shown stays so, also where it turns out to be a secret's beginning
        shown.append(self._text[at:until])
        left = max(0, until - LOOKS_BACK)
        self._text, self._shown = self._text[left:], until - left
        return "".join(shown)
