"""Takes secrets out of texts, before these leave the process: log lines, steps, streamed words, traces."""

import json
import re
from collections.abc import Iterable
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


class Redactor:
    """Takes secrets out of a text: the values given, also as JSON writes them, and whatever looks like a key."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
        known |= {json.dumps(secret, ensure_ascii=plain)[1:-1] for secret in known for plain in (True, False)}
        found = sorted(known, key=len, reverse=True)
        self._found = found
        self._values = re.compile("|".join(map(re.escape, found))) if found else None

    def __call__(self, text: str) -> str:
        for secret in self._found:
            if secret in text and self._values is not None:
                text = self._values.sub(REDACTED, text)
                break
        return _KEY_PATTERNS.sub(REDACTED, text) if _may_hold_key(text) else text

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


def _may_hold_key(text: str) -> bool:
    """Whether `_KEY_PATTERNS` can match at all. Few texts may, and the pattern, which begins with nothing fixed, takes
    ten times as long as this; the tests hold the two together.
    """
    small = text.casefold()
    return (
        "k-" in small
        or "k_" in small
        or "whsec" in small
        or "tvly" in small
        or "wt_" in small
        or "bearer" in small
        or "basic" in small
        or "://" in small
    )


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
    secrets |= set(settings.otlp_headers.values())
    for entry in (settings.api_keys or "").split(","):
        secrets |= {part.strip() for part in entry.split(":")[1:2]}
    return secrets
