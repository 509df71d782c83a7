"""Log lines: one line an event, and no secret in any.

    2026-11-21T09:39:00.123Z INFO gateway[4711] gateway.app started address=http://127.0.0.1:8000

that is: time (UTC), level, process, logger, event, key=value. A call site says
`log.info("started", extra={"address": ...})`. A value with spaces, quotes or line breaks is written as a JSON string, a
traceback too, so that no text from outside can forge a line.
"""

import json
import logging
import os
import re
import sys
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from core_config import Settings

REDACTED = "[redacted]"
SHORTEST_SECRET = 6
"""Shorter values are not looked for: they would black out ordinary words."""

_KEY_PATTERNS = re.compile(
    r"\b(?:sk|pk|rk|ak|whsec|tvly)[-_][A-Za-z0-9_-]{8,}"  # keys of providers, of Langfuse, of our own callers
    r"|\bwt_[0-9a-f]{1,12}_[A-Za-z0-9_-]{8,}"  # watch tokens
    r"|(?i:\bBearer\s+)[A-Za-z0-9._~+/=-]{6,}"
    r"|(?i:\bBasic\s+)(?=[a-z]*[A-Z0-9+/=])[A-Za-z0-9._~+/=-]{6,}"  # no words such as "basic principles"
    r"|(?<=://)[^\s/@:]*:[^\s/@]+(?=@)"  # user:password in an address
)
_KEY_BEGUN = re.compile(
    r"\b(?:sk|pk|rk|ak|whsec|tvly)[-_][A-Za-z0-9_-]*\Z"
    r"|\bwt_[0-9a-f]{0,12}(?:_[A-Za-z0-9_-]*)?\Z"
    r"|(?i:\b(?:Bearer|Basic))(?:\s+[A-Za-z0-9._~+/=-]*)?\Z"
    r"|(?<=://)[^\s/@]*\Z"
)
_BEGUN = 3
"""Characters from which on the beginning of a secret is told from ordinary words."""
_PLAIN_VALUE = re.compile(r"[^\s\"'=\\]+")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
# They log every request or connection at INFO, or what we say ourselves (uvicorn's start and stop).
_CHATTY = ("uvicorn.error", "httpx", "httpcore", "openai", "LiteLLM", "asyncio", "urllib3")


class Redactor:
    """Takes secrets out of a text: the values given, and whatever looks like a key."""

    def __init__(self, secrets: Iterable[str]) -> None:
        found = sorted({secret for secret in secrets if len(secret) >= SHORTEST_SECRET}, key=len, reverse=True)
        self._found = found
        self._values = re.compile("|".join(map(re.escape, found))) if found else None

    def __call__(self, text: str) -> str:
        if self._values is not None:
            text = self._values.sub(REDACTED, text)
        return _KEY_PATTERNS.sub(REDACTED, text)

    def places(self, text: str) -> list[tuple[int, int]]:
        """Where in the text secrets stand: from, to; in order, and they may overlap."""
        found = [match.span() for match in _KEY_PATTERNS.finditer(text)]
        if self._values is not None:
            found += [match.span() for match in self._values.finditer(text)]
        return sorted(found)

    def begun(self, text: str) -> int:
        """From where on the text's end may be a secret of which more is to come; its length when it is none."""
        match = _KEY_BEGUN.search(text)
        first = match.start() if match else len(text)
        for value in self._found:
            at = text.find(value[:_BEGUN], max(0, len(text) - len(value) + 1))
            while 0 <= at < first:
                if value.startswith(text[at:]):
                    first = at
                at = text.find(value[:_BEGUN], at + 1)
        return first


def secrets_of(settings: Settings) -> set[str]:
    """Every secret value that the settings hold: keys, and the password of the Redis address."""
    secrets = set()
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            secrets.add(value.get_secret_value())
    password = urlsplit(settings.redis_address).password
    if password:
        secrets |= {password, unquote(password)}
    for entry in (settings.api_keys or "").split(","):
        secrets |= {part.strip() for part in entry.split(":")[1:2]}
    return secrets


class LineFormatter(logging.Formatter):
    def __init__(self, process: str, redact: Redactor) -> None:
        super().__init__()
        self._process = f"{process}[{os.getpid()}]"
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        event = self._redact(record.getMessage())
        parts = [at, record.levelname, self._process, record.name, event if event.isprintable() else _quoted(event)]
        parts += [
            f"{key}={self._value(value)}"
            for key, value in vars(record).items()
            if key not in _STANDARD and not key.startswith("_")
        ]
        if record.exc_info and record.exc_info[0] is not None:
            parts.append(f"exception={self._value(self.formatException(record.exc_info))}")
        if record.stack_info:
            parts.append(f"stack={self._value(record.stack_info)}")
        return " ".join(parts)

    def _value(self, value: Any) -> str:
        text = self._redact(str(value))
        return text if _PLAIN_VALUE.fullmatch(text) and text.isprintable() else _quoted(text)


def _quoted(text: str) -> str:
    """A JSON string; readable beyond ASCII, unless it holds what a terminal or `splitlines` takes for a break."""
    readable = json.dumps(text, ensure_ascii=False)
    return readable if readable.isprintable() else json.dumps(text)


def setup_logging(settings: Settings, process: str, secrets: Iterable[str] = ()) -> Redactor:
    """Sends every logger's lines of this process to stderr, and answers the redactor, for texts that go elsewhere.

    `process` names it (`gateway`, `worker`); `secrets` are more values to keep out, such as the providers' keys.
    """
    redact = Redactor([*secrets_of(settings), *secrets])
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(process, redact))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(capture=True)
    return redact
