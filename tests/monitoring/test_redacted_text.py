"""A text that comes in pieces: no secret in what is shown, however it was cut, and nothing else kept back for long."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.logs import Redactor
from monitoring.redacted_text import LONGEST_HELD, RedactedText

VALUES = ["hunter2secret", "passw0rd-x", "hunter2secret99", "aaaaaab", "kurz: ä€🙂!"]
REDACT = Redactor(VALUES)
TEXTS = [
    "the key is sk-abcdefghijklmnop and more",
    "Authorization: Bearer abcdef.ghijklmnop123 ok",
    "Basic dXNlcjpwYXNz and basic principles of a desk-lamp",
    "postgres://user:p4ssw0rd@host/db, see https://example.com/x?y=z",
    "my hunter2secret is hunter2secret99 aaaaaaaaaaaab hunter2 secret",
    "sk-abcdefgh hunter2secret passw0rd-x wt_0a1b2c_ABCDEFGHIJ kurz: ä€🙂!!",
    "risk-averse task_abcdefghij, sk- and wt_ and Bearer",
]
BEGINNINGS = re.compile(r"(?:(?:sk?|pa?s?|hu?|aa?|Beare|Bear|Bea|Basic|Basi|Bas|Ba|Be|B|wt?|ku?))?\[redacted\]")
"""What was shown before it was told for a secret's beginning stays."""


def shown(pieces: list[str]) -> list[str]:
    text = RedactedText(REDACT)
    return [*(text.add(piece) for piece in pieces), text.end()]


@given(st.sampled_from(TEXTS), st.lists(st.integers(1, 12), min_size=60))
def test_however_it_is_cut_the_same_is_shown(whole: str, sizes: list[int]) -> None:
    pieces, rest = [], whole
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    together = "".join(shown([*pieces, rest]))
    assert BEGINNINGS.sub("#", together) == BEGINNINGS.sub("#", REDACT(whole))
    for secret in re.findall(r"sk-\w{8,}|abcdef\.\w+|dXN\w+|p4ss\w+|wt_\w{9,}", whole):
        assert not any(secret[at : at + 5] in together for at in range(3, len(secret) - 4))
    for value in VALUES:
        assert value not in together


def test_ordinary_words_are_shown_at_once() -> None:
    pieces = ["The ", "quick", " br", "own fox", " is", " a", " ri", "sk", ".", " 狐", "狸"]
    assert shown(pieces) == [*pieces, ""]


def test_what_looks_like_a_secrets_beginning_waits_for_what_follows_and_no_longer() -> None:
    assert shown(["a sk-", "8", " b"]) == ["a ", "", "sk-8 b", ""]
    assert shown(["pass", "w0r", "k"]) == ["", "", "passw0rk", ""]
    assert shown(["hun", "ter2secret"]) == ["", "", "[redacted]"], "it may still be the longer one"
    assert shown(["see http://", "host", "/x"]) == ["see http://", "", "host/x", ""]


def test_at_the_end_nothing_is_kept() -> None:
    assert shown(["a sk-12"]) == ["a ", "sk-12"]
    assert shown(["a sk-12345678"]) == ["a ", "[redacted]"]


def test_what_waits_is_bounded() -> None:
    text = RedactedText(REDACT)
    text.add("https://")
    assert text.add("x" * LONGEST_HELD) == ""
    assert text.held == LONGEST_HELD
    assert text.add("y") == "x" * LONGEST_HELD + "y"
    assert text.held == 0


@pytest.mark.parametrize("secrets", [[], ["short"]])
def test_without_values_the_patterns_still_hold(secrets: list[str]) -> None:
    text = RedactedText(Redactor(secrets))
    assert text.add("sk-abc") + text.add("defgh ijk") == "[redacted] ijk"
