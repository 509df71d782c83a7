"""The register of provokers: each makes the message of one row of docs/troubleshooting.md appear, and returns it."""

from collections.abc import Callable

PROVOKERS: dict[str, Callable[..., str]] = {}
"""By the row's id. Their parameters are fixtures."""


def provokes(row: str) -> Callable[[Callable[..., str]], Callable[..., str]]:
    def register(provoker: Callable[..., str]) -> Callable[..., str]:
        assert row not in PROVOKERS, f"{row} has two provokers"
        PROVOKERS[row] = provoker
        return provoker

    return register
