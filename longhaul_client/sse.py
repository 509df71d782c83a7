"""Server-sent events out of bytes, however those are cut (HTML's rules)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Frame:
    """One event as it was sent."""

    id: str | None
    name: str
    data: str


class SseParser:
    """Of one connection. An event that the connection did not finish is never told."""

    def __init__(self) -> None:
        self.retry_s: float | None = None
        """After how long the server wants to be asked again."""
        self.has_heard = False
        """Whether an event or a comment came: the far side is alive."""
        self._rest = b""
        self._id: str | None = None
        self._name = ""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> list[Frame]:
        """The events that this piece completes."""
        # A carriage return that ends a piece may be half of a line break.
        text = self._rest + piece
        held = text[-1:] if text.endswith(b"\r") else b""
        lines = (text[: len(text) - len(held)]).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop() + held
        return [frame for line in lines if (frame := self._line(line.decode("utf-8", "replace"))) is not None]

    def _line(self, line: str) -> Frame | None:
        if not line:
            return self._end()
        if line.startswith(":"):
            self.has_heard = True
            return None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_s = int(value) / 1000
        return None

    def _end(self) -> Frame | None:
        frame = Frame(self._id, self._name or "message", "\n".join(self._data)) if self._data else None
        self._id, self._name, self._data = None, "", []
        self.has_heard = self.has_heard or frame is not None
        return frame
