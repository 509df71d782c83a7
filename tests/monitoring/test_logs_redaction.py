"""The redactor's quick look first: it must never miss what the patterns would find."""

import random

import pytest

from monitoring import redaction
from monitoring.redaction import REDACTED, Redactor

PIECES = [
    "sk", "pk", "rk", "ak", "whsec", "tvly", "wt", "SK", "Bearer", "bearer", "BEARER", "Basic", "basic", "Baſic", "://",
    "-", "_", ":", "@", " ", "\n", "=", "/", "user", "abcdefgh12345678", "0a1b2c", "ABCDEFGH", "task", "k", "é",
    "known secret",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_it_finds_what_the_patterns_find(seed: int):
    dice = random.Random(seed)
    redact, held = Redactor(["known secret"]), 0
    for _ in range(5000):
        text = "".join(dice.choices(PIECES, k=dice.randint(1, 8)))
        whole = redaction._KEY_PATTERNS.sub(REDACTED, text.replace("known secret", REDACTED))
        assert redact(text) == whole, text
        held += whole != text
    assert held > 500, "and there was something to find"


def test_the_longest_of_two_secrets_goes_first():
    redact = Redactor(["abcdef", "abcdef-and-more"])
    assert redact("abcdef-and-more abcdef") == f"{REDACTED} {REDACTED}"
