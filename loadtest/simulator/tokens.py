"""Deterministic tokens: the same text always has the same count and the same pieces, in every process."""

import re
from functools import lru_cache

# Up to six letters, up to three digits or any other single character, each with the white space before it. A Chinese
# character is one token. Possessive, so that a long run of blanks costs linear time.
_PIECE = re.compile(r"\s*+(?:[A-Za-z]{1,6}|[0-9]{1,3}|\S)|\s++")

_MAX_KEPT_CHARS = 8192


def split_tokens(text: str) -> list[str]:
    """The pieces of `text`, in order; joined they are `text` again."""
    return _PIECE.findall(text)


def count_tokens(text: str) -> int:
    return _count_again(text) if len(text) <= _MAX_KEPT_CHARS else len(_PIECE.findall(text))


@lru_cache(maxsize=1024)
def _count_again(text: str) -> int:
    """Counting is the dearest part of a call, and under load nearly all of a prompt (system text, tools) recurs."""
    return len(_PIECE.findall(text))
