"""No secret in any line; and the redactor's quick look first never misses what the patterns would find."""

import logging
import random
import warnings

import pytest
import structlog

from monitoring import redaction
from monitoring.log_lines import LONGEST_VALUE
from monitoring.redaction import REDACTED, Redactor

from .conftest import CANARY, Written

log = logging.getLogger("spoken.of")

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


def test_a_traceback_is_in_the_line_of_its_event(written: Written):
    try:
        raise ValueError(f"it was {CANARY}")
    except ValueError:
        log.exception("failed", extra={"request_id": "r1"})
    assert "ValueError" in written.line
    assert "Traceback" in written.line
    assert CANARY not in written.line
    assert REDACTED in written.line


def test_of_a_long_value_the_middle_is_left_out_and_no_secret_at_the_cuts(written: Written):
    places = (
        LONGEST_VALUE // 2,
        LONGEST_VALUE // 2 + 500,
    )  # where it is cut for people, and where it was cut to look at
    for at in (place + shift for place in places for shift in range(-40, 8, 4)):
        log.info("said", extra={"text": "x" * at + CANARY + "y" * LONGEST_VALUE + CANARY + "z" * at})
    for line in written.lines:
        assert "characters left out]" in line
        assert len(line) < LONGEST_VALUE + 1000
        assert "canary" not in line
        assert "secret" not in line


@pytest.mark.parametrize(
    "secret",
    [
        CANARY,
        "p@ssword-1",
        "p%40ssword-1",
        "ab" * 32,
        "provider-key-in-plain",
        "sk-proj-abcDEF123456",
        "sk-ant-api03-abc_DEF-123",
        "pk-lf-0123456789",
        "ak_alice_0123456789abcdef",
        "tvly-dev-0123456789",
        "wt_6b01c3c4_beMOUt2dH_YVSIrmEhQcNBb0J9ZX_u8x74iWGrojYmk",
        "Bearer abc.def-ghi",
        "Authorization: bearer abcdefghijk",
        "https://user:hunter22@example.org/x",
    ],
)
def test_secrets_are_kept_out_of_every_part_of_a_line(written: Written, secret: str):
    log.info("message with %s in it", secret)
    log.info("%s", {"arguments": [secret]})
    log.info("field", extra={"field": secret})
    log.info("nested", extra={"field": {"list": [{"deep": (secret,)}], secret: 1}})
    log.info("object", extra={"field": RuntimeError(secret)})
    log.info("name", extra={f"of {secret}": 1})
    structlog.get_logger("spoken.native").info("native", field=secret)
    structlog.contextvars.bind_contextvars(bound=secret)
    try:
        raise RuntimeError(secret)
    except RuntimeError:
        log.exception("raised")
    core = secret.removeprefix("Authorization: bearer ").removeprefix("Bearer ")
    core = "hunter22" if "hunter22" in core else core
    assert core not in written.text
    assert len(written.lines) == 8
    assert all(REDACTED in line.replace("_redacted_", REDACTED) for line in written.lines), "a name has no brackets"


def test_a_warning_of_a_library_is_a_line_as_any_other(written: Written):
    logging.getLogger().handlers[0].filters.clear()
    warnings.showwarning(f"{CANARY} is deprecated", DeprecationWarning, "library.py", 1)
    assert f"{REDACTED} is deprecated" in written.line
    assert "py.warnings" in written.line
