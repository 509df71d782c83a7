"""The gateway over HTTP, as a client of ours sees it."""

from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from core_config import is_loopback
from operations import configuration
from operations.errors import CommandError

_SECONDS = 40.0  # beyond the longest ?wait=


class Gateway:
    """A connection to one gateway. Every failure is a CommandError that says what to do."""

    def __init__(self, url: str | None, key: str | None) -> None:
        self.url = (url or configuration.gateway_url(configuration.load())).rstrip("/")
        headers = {"authorization": f"Bearer {_key(key)}"} if key else {}
        # This machine's own gateway is never reached through a proxy; another's may have to be.
        trust_env = not is_loopback(urlsplit(self.url).hostname or "")
        try:
            self._client = httpx.Client(base_url=self.url, headers=headers, trust_env=trust_env, timeout=_SECONDS)
        except (httpx.InvalidURL, ValueError) as error:
            raise CommandError(f"--url {self.url} is no address ({error}). Write http://host:port.") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def call(self, method: str, path: str, body: object = None) -> httpx.Response:
        """Any answer, also one that says no."""
        try:
            return self._client.request(method, path, json=body)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL):
            raise CommandError(f"--url {self.url} is no address. Write http://host:port.") from None
        except httpx.ConnectError:
            raise CommandError(f"nothing answers at {self.url}. Start it: python3 manage.py start.") from None
        except httpx.HTTPError as error:
            raise CommandError(f"{self.url}{path} failed: {str(error) or type(error).__name__}.") from None

    def json(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """The answer's JSON. CommandError with the gateway's own words when it says no."""
        response = self.call(method, path, body)
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if response.is_success and isinstance(answer, dict):
            return answer
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise CommandError(f"{self.url} wants an API key, and this is none of its: use --key KEY or --key @FILE.")
        detail = answer.get("detail") if isinstance(answer, dict) else response.text[:200]
        raise CommandError(f"{self.url}{path} answers {response.status_code}: {detail}")


def _key(given: str) -> str:
    """`@FILE` keeps a key out of the process list and of the shell's history."""
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read the key from {given[1:]}: {error}.") from None
