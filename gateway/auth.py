"""Who calls: API keys from API_KEYS and API_KEYS_FILE.

A key is a long random string; the settings hold its SHA-256 only. A key is looked up by its digest: how long a dict
takes may tell how a digest compares with stored ones, but a digest near a stored one brings nobody nearer to a key.
"""

import hashlib
import logging
import re
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from core_config import ConfigurationError, Settings
from taskstore.store import ANY_CALLER

LOOK_EVERY_S = 1.0
LONGEST_KEY = 512
REMEDY = "`python manage.py keys new NAME` makes a right one"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    name: str
    admin: bool
    watches: str | None = None
    """The one task whose events are all that it may see, whoever's it is: that of a watch token."""

    @property
    def may_touch(self) -> str:
        """Whose tasks it may see and cancel, as the store takes it."""
        return ANY_CALLER if self.admin or self.watches else self.name


LOCAL = Caller("local", admin=True)
"""The one caller of a gateway without keys."""

Keys = Mapping[bytes, Caller]


def parse_entries(entries: Iterable[str], source: str) -> dict[bytes, Caller]:
    """`name:<sha256 hex>[:admin]` each. Raises ConfigurationError that names the entry's number, never its content:
    what stands in the wrong place may be a key.
    """
    keys: dict[bytes, Caller] = {}
    for number, entry in enumerate(entries, 1):
        text = entry.split("#", 1)[0].strip()
        if not text:
            continue
        where = f"{source}, entry {number}"
        name, _, rest = text.partition(":")
        digest, _, scope = (part.strip() for part in rest.partition(":"))
        if not _NAME.fullmatch(name.strip()):
            raise ConfigurationError(
                f"{where}: a name is 1 to 64 of A-Z a-z 0-9 . _ @ - and starts with a letter or digit; {REMEDY}."
            )
        if not _DIGEST.fullmatch(digest):
            raise ConfigurationError(
                f"{where}: after the name comes the key's SHA-256 as 64 hex digits, not the key itself; {REMEDY}."
            )
        if scope not in {"", "admin"}:
            raise ConfigurationError(f"{where}: after the hash comes nothing or `admin`; {REMEDY}.")
        caller = Caller(name.strip(), admin=scope == "admin")
        if keys.setdefault(bytes.fromhex(digest), caller) != caller:
            raise ConfigurationError(f"{where}: the same key stands in an earlier entry with other rights or name.")
    return keys


class KeyRing:
    """The keys that open the door now. `caller` looks at the file once a second, and reads it when it changed."""

    def __init__(self, settings: Settings) -> None:
        self._fixed = parse_entries((settings.api_keys or "").split(","), "API_KEYS")
        self._file = settings.api_keys_file
        self._stamp: tuple[int, ...] | None = None
        self._looked_at = time.monotonic()
        self._keys: Keys = self._fixed
        if self._file is not None:
            self._stamp = _stamp(self._file)
            self._keys = self._fixed | _read(self._file)
        if not self._keys:
            source = "API_KEYS_FILE" if self._file is not None else "API_KEYS"
            raise ConfigurationError(f"{source} is set but holds no key, so nobody could call; {REMEDY}.")

    @property
    def callers(self) -> Collection[Caller]:
        """Of each key that opens the door."""
        return self._keys.values()

    def caller(self, key: bytes) -> Caller | None:
        """Whose key this is, or None."""
        self._follow_file()
        if not 0 < len(key) <= LONGEST_KEY:
            return None
        return self._keys.get(hashlib.sha256(key).digest())

    def _follow_file(self) -> None:
        now = time.monotonic()
        if self._file is None or now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        try:
            stamp = _stamp(self._file)
            if stamp == self._stamp:
                return
            # remembered before reading: a bad file is reported once, not each second
            self._stamp = stamp
            keys = self._fixed | _read(self._file)
            if not keys:
                raise ConfigurationError("API_KEYS_FILE holds no key")
        except ConfigurationError as error:
            self._report(str(error))
        else:
            self._keys = keys
            log.info("keys_read", extra={"keys": len(keys)})

    def _report(self, reason: str) -> None:
        log.error("keys_kept", extra={"keys": len(self._keys), "reason": reason})


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Changes when the file does; None when it cannot be read, which `_read` then reports."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size, about.st_ino


def _read(path: Path) -> dict[bytes, Caller]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"API_KEYS_FILE={path} cannot be read ({type(error).__name__}). Make the file readable, or unset it."
        ) from None
    return parse_entries(lines, f"API_KEYS_FILE={path}")
