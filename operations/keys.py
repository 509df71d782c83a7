"""Makes an API key. Only its SHA-256 is stored, so the key is shown this once.

The gateway reads API_KEYS_FILE again when it changes; after a change of API_KEYS, restart. The same name twice is a
rotation: both keys work until the older entry is taken out.
"""

import argparse
import hashlib
import os
import re
import secrets
from pathlib import Path

from operations import configuration
from operations.errors import CommandError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="new")
    new = actions.add_parser("new", help="make a key for NAME", description=__doc__)
    new.add_argument("name", type=_caller_name, metavar="NAME", help="the caller that the key stands for")
    new.add_argument("--admin", action="store_true", help="sees every caller's tasks, replays, reads dead letters")
    new.add_argument("--write", action="store_true", help="add the entry to API_KEYS_FILE")


def run(arguments: argparse.Namespace) -> int:
    key = f"ak_{secrets.token_hex(4)}_{secrets.token_urlsafe(32)}"
    entry = f"{arguments.name}:{hashlib.sha256(key.encode()).hexdigest()}{':admin' if arguments.admin else ''}"
    if arguments.write:
        path = configuration.load().api_keys_file
        if path is None:
            raise CommandError("API_KEYS_FILE is not set. Set it in the environment or .env, or leave --write out.")
        append(path, entry)
        print(f"Added to {path}; the gateway takes it within seconds.")
    else:
        print(f"Add to API_KEYS (entries are separated by commas) or, as a line, to API_KEYS_FILE:\n\n  {entry}\n")
    print(f"The key of {arguments.name}, shown this once:\n\n  {key}\n\nIt goes into `Authorization: Bearer <key>`.")
    return 0


def append(path: Path, entry: str) -> None:
    """Adds a line to the file, which only its owner can read. CommandError when it cannot be written."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            os.fchmod(file.fileno(), 0o600)
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
            unfinished = bool(size) and file.read(1) != b"\n"
            file.write((b"\n" if unfinished else b"") + entry.encode() + b"\n")
    except OSError as error:
        raise CommandError(f"cannot write API_KEYS_FILE {path}: {error.strerror}.") from None


def _caller_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError("a name is 1 to 64 of A-Z a-z 0-9 . _ @ - and starts with a letter or digit")
    return text
