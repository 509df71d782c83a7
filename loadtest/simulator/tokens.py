"""Deterministic tokens: the same text always has the same count and the same pieces, in every process."""

import re

# Up to six letters, up to three digits or any other single character, each with the white space before it. A Chinese
# character is one token. Possessive, so that a long run of blanks costs linear time.
_PIECE = re.compile(r"\s*+(?:[A-Za-z]{1,6}|[0-9]{1,3}|\S)|\s++")


def split_tokens(text: str) -> list[str]:
    """The pieces of `text`, in order; joined they are `text` again."""
    return _PIECE.findall(text)


def count_tokens(text: str) -> int:
    return len(_PIECE.findall(text))
