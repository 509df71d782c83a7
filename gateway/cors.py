"""Which web pages of other origins may call from a browser: those of CORS_ORIGINS, and no other.

Starlette's middleware does it, with these options. It changes heads only, so streams pass as they are; app.py puts it
outside of everything else, so that a page can read problems too, also one of our own fault.
"""

import re
from typing import Any

from core_config import ConfigurationError, Settings

DEFAULT_PORTS = {"http": "80", "https": "443"}

_ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[1-9]\d{0,4}))?")
"""As browsers write it in `Origin`: lower case, no path. They write other scripts as `xn--…`."""

HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "Traceparent", "X-Request-ID")


def options_of(settings: Settings) -> dict[str, Any]:
    """The middleware's options; none when there is no CORS_ORIGINS. Raises ConfigurationError."""
    origins = [_checked(entry.strip()) for entry in (settings.cors_origins or "").split(",") if entry.strip()]
    if not origins:
        return {}
    return {
        "allow_origins": frozenset(origins),
        "allow_methods": ("GET", "POST", "DELETE"),
        "allow_headers": HEADERS,
        "expose_headers": ("Retry-After", "WWW-Authenticate", "X-Request-ID"),
        "allow_private_network": True,  # who is named may call wherever we are
    }


def _checked(origin: str) -> str:
    """The origin as it was given. What no browser could send would be a setting that silently does nothing."""
    if origin == "*":
        raise _refused(
            origin, "every page in the world could call with what its reader's browser can reach; name the origins"
        )
    if origin == "null":
        raise _refused(origin, "every file and every sandboxed frame sends it; serve the page over HTTP")
    found = _ORIGIN.fullmatch(origin)
    if found is None:
        raise _refused(
            origin, "an origin is http:// or https://, a host in lower case and perhaps a port, with nothing after it"
        )
    if found["port"] == DEFAULT_PORTS[found["scheme"]]:
        raise _refused(origin, f"browsers leave out a scheme's own port; write {origin.rpartition(':')[0]}")
    return origin


def _refused(origin: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"CORS_ORIGINS: {origin!r}: {reason}. Write for example CORS_ORIGINS=https://app.example.com,http://localhost:8080"
    )
