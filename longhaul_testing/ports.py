"""Free ports: each is given once on this machine for as long as the process that got it lives.

A port that the system names (bind to 0, look, close) may be another's by the time it is used: another test's, or an
outgoing connection's. These lie below the range that systems take such ports from, and are reserved by a lock.
"""

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_FIRST, _PAST = 20_000, 32_000


def free_port() -> int:
    """A port of 127.0.0.1 where nobody listens, never the same twice. Raises OSError when there is none left."""
    for port in _untried():
        if _reserve(port) and _is_free(port):
            return port
    raise OSError(f"all ports from {_FIRST} to {_PAST - 1} of 127.0.0.1 are taken")


@cache
def _untried() -> Iterator[int]:
    """Each port once, from a place of this process's own, so that processes seldom try the same."""
    ports = range(_FIRST, _PAST)
    begin = random.randrange(len(ports))  # noqa: S311 no secret
    return iter([*ports[begin:], *ports[:begin]])


@cache
def _reservations() -> int:
    """A file whose n-th byte stands for port n. It stays open: to close it would give all its locks back."""
    path = Path(tempfile.gettempdir()) / f"longhaul-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _reserve(port: int) -> bool:
    try:
        fcntl.lockf(_reservations(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
