"""Log lines: one an event, in one grammar, and no secret in any."""

import io
import logging
import re
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from core_config import Settings
from monitoring.logs import REDACTED, setup_logging

from .conftest import RunningGateway

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) gateway\[\d+\] [\w.]+ .+")
CANARY = "canary-value-of-a-secret"


@pytest.fixture
def lines(settings: Settings, ending: list[RunningGateway]) -> Iterator[io.StringIO]:
    """What a process with secrets in its settings writes."""
    for gateway in ending:  # else its last words would stand among these
        gateway.stop()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    secret = settings.model_copy(
        update={
            "langfuse_secret_key": SecretStr(CANARY),
            "redis_url": "redis://user:p%40ssword-1@127.0.0.1:6379/0",
            "api_keys": "alice:" + "ab" * 32,
        }
    )
    setup_logging(secret, "gateway", ["provider-key-in-plain"])
    written = io.StringIO()
    handler = root.handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(written)
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def test_an_event_is_one_line(lines: io.StringIO):
    log = logging.getLogger("gateway.app")
    log.info("started", extra={"address": "http://127.0.0.1:8000", "model": "a b", "count": 3, "none": None})
    (line,) = lines.getvalue().splitlines()
    assert LINE.fullmatch(line)
    assert line.endswith('gateway.app started address=http://127.0.0.1:8000 model="a b" count=3 none=None')


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\nb", "a\u2028b", "a\x85b", 'quo"te', "x=y", "\x1b[31mred", "back\\slash", ""]
)
def test_no_text_can_forge_a_line_or_a_field(lines: io.StringIO, text: str):
    log = logging.getLogger("x")
    log.warning("said", extra={"text": text, "after": 1})
    log.warning("%s", text)
    first, _ = lines.getvalue().splitlines()
    assert first.endswith(" after=1")
    assert re.search(r' text="(?:[^"\\]|\\.)*" after=1$', first), first
    assert "\x1b" not in lines.getvalue()


def test_text_beyond_ascii_stays_readable(lines: io.StringIO):
    logging.getLogger("x").info("said", extra={"text": "你好 世界"})
    assert 'text="你好 世界"' in lines.getvalue()


def test_a_traceback_is_in_the_line_of_its_event(lines: io.StringIO):
    try:
        raise ValueError(f"it was {CANARY}")
    except ValueError:
        logging.getLogger("x").exception("failed", extra={"request_id": "r1"})
    (line,) = lines.getvalue().splitlines()
    assert "ValueError" in line
    assert "Traceback" in line
    assert CANARY not in line
    assert REDACTED in line


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
def test_secrets_are_kept_out_of_every_part_of_a_line(lines: io.StringIO, secret: str):
    log = logging.getLogger("third.party")
    log.info("message with %s in it", secret)
    log.info("%s", {"arguments": [secret]})
    log.info("field", extra={"field": secret})
    try:
        raise RuntimeError(secret)
    except RuntimeError:
        log.exception("raised")
    core = secret.removeprefix("Authorization: bearer ").removeprefix("Bearer ")
    core = "hunter22" if "hunter22" in core else core
    assert core not in lines.getvalue()
    assert lines.getvalue().count(REDACTED) >= 4


def test_ordinary_words_stay(lines: io.StringIO):
    logging.getLogger("x").info("task-management asks: risk_assessment, sk, ak-47; the bearer of news, basic-auth")
    assert lines.getvalue().endswith(
        "task-management asks: risk_assessment, sk, ak-47; the bearer of news, basic-auth\n"
    )


def test_what_logs_each_request_is_kept_quiet(lines: io.StringIO):
    for name in ("httpx", "uvicorn.error"):
        logging.getLogger(name).info("GET / 200")
        logging.getLogger(name).error("broken")
    assert lines.getvalue().count("\n") == 2
    assert "GET" not in lines.getvalue()
