"""One process's log while it grows: what it held at first, and what comes after that."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_CHUNK_BYTES = 1_000_000


class FollowedLog:
    """From where it ends now on, also across rotations."""

    def __init__(self, path: Path, *, from_start: bool = False) -> None:
        self._path = path
        self._rest = b""
        self._file: BinaryIO | None = self._open()
        if self._file and not from_start:
            self._file.seek(0, os.SEEK_END)

    @property
    def inode(self) -> int | None:
        return os.fstat(self._file.fileno()).st_ino if self._file else None

    def before(self) -> Iterator[bytes]:
        """The lines that the file held when it was opened, as often as wanted; `lines` then goes on from there, without
        a gap also within a line.
        """
        if self._file is None:
            return
        self._rest = b""
        at, end = 0, self._file.tell()
        while at < end and (chunk := os.pread(self._file.fileno(), min(_CHUNK_BYTES, end - at), at)):
            at += len(chunk)
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            yield from lines

    def lines(self) -> Iterator[bytes]:
        """What was written since the last call."""
        yield from self._read()
        with contextlib.suppress(FileNotFoundError):
            if self._file is None or self._path.stat().st_ino != self.inode:
                yield from self._read()  # what came between the last read and the rotation
                if self._file:
                    self._file.close()
                self._file = self._open()
                yield from self._read()

    def close(self) -> None:
        """Closing twice is harmless."""
        if self._file:
            self._file.close()
            self._file = None

    def _open(self) -> BinaryIO | None:
        with contextlib.suppress(FileNotFoundError):
            return self._path.open("rb")
        return None

    def _read(self) -> Iterator[bytes]:
        if self._file is None:
            return
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        yield from lines
