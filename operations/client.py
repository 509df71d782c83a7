"""The gateway as the operator's commands call it: `longhaul_client`, and its errors as what to do about them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from longhaul_client import Client, LonghaulError, UnreachableError
from operations import configuration
from operations.errors import CommandError

RETRY_S = 30.0
"""For a gateway that restarts."""


@contextmanager
def gateway(url: str | None, key: str | None, *, retry_for_s: float = RETRY_S) -> Iterator[Client]:
    """A client of that gateway, else of this machine's. Every LonghaulError under it becomes a CommandError."""
    address = url or configuration.gateway_url(configuration.load())
    try:
        client = Client(address, None if key is None else key_of(key), retry_for_s=retry_for_s)
    except ValueError as error:
        raise CommandError(f"--url or --key cannot be used: {error}.") from None
    with client:
        try:
            yield client
        except LonghaulError as error:
            raise explained(error, client) from None


def demand_running(url: str | None, key: str | None) -> None:
    """CommandError at once when nothing answers: to try again would only delay telling how to start it."""
    with gateway(url, key, retry_for_s=0) as client:
        client.request("GET", "/health")


def explained(error: LonghaulError, client: Client) -> CommandError:
    """In the gateway's own words, and what to do where the command knows it."""
    if isinstance(error, UnreachableError) and error.is_passing:
        return CommandError(f"nothing answers at {client.url} ({error.reason}). Start it: python3 manage.py start.")
    if error.status == 401:
        return CommandError(f"{client.url} wants an API key, and this is none of its: use --key KEY or --key @FILE.")
    said = "" if error.status is None else f"{client.url} answers {error.status}: "
    return CommandError(f"{said}{error.detail}")


def key_of(given: str) -> str:
    """`@FILE`, and `-` for standard input, keep a key out of the list of processes and of the shell's history."""
    if given == "-":
        return sys.stdin.readline().strip()
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read the key from {given[1:]}: {error}.") from None
