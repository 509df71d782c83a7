"""What the protocol (protocol.py) asks of a transport, and what it gets back. Plain data: no sockets, no clock."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request. `silence_s`: how long the answer may be silent before the connection counts as lost."""

    method: str
    path: str
    silence_s: float
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of any status. The names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """ValueError when the body is no JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Lost:
    """There was no whole answer. `hopeless`: nor will there be one to the next attempt. `by_caller`: it was the caller
    who stopped waiting, so that nothing is wrong.
    """

    reason: str
    hopeless: bool = False
    by_caller: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Asks for a whole answer. Gets Reply | Lost."""

    call: Call


@dataclass(frozen=True, slots=True)
class Open:
    """Asks for the head of an answer, whose body Read takes; closes the one that was open. Gets Reply | Lost; only of
    an answer other than 200 has the Reply a body.
    """

    call: Call


@dataclass(frozen=True, slots=True)
class Read:
    """Asks for the next piece of the open answer. Gets bytes (none: it has ended) | Lost."""


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


Need = Send | Open | Read | Pause
