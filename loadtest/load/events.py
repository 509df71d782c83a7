"""Server-sent events out of the lines of an answer."""

from collections.abc import Iterable, Iterator


def read_events(lines: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """Each event's name and data, as soon as its blank line has come. Ours have their data on one line."""
    name, data = "message", b""
    for line in lines:
        if not line:
            if data:
                yield name, data
            name, data = "message", b""
        elif line.startswith(b"event:"):
            name = line[6:].strip().decode()
        elif line.startswith(b"data:"):
            data = line[5:].strip()
