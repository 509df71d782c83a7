"""The part of requirements.lock that the programs need, for the image: `python runtime_lock.py LOCK WANTED`.

WANTED is what pyproject.toml's own dependencies come to, one `name==version` a line. What is printed are the lock's
entries for these, hashes and all; a package that the lock does not have in that version ends it with exit code 1.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

_ENTRY = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>\S+)")


def part_of(lock: str, wanted: str) -> str:
    """Raises LookupError, which names the package."""
    entries = {
        found.group(): entry for entry in re.split(r"^(?=\w)", lock, flags=re.MULTILINE) if (found := _pin(entry))
    }
    pins = [found.group() for line in wanted.splitlines() if (found := _pin(line))]
    if missing := [pin for pin in pins if pin not in entries]:
        raise LookupError(f"requirements.lock has no {', '.join(missing)}: make it anew (CONTRIBUTING.md)")
    return "".join(entries[pin] for pin in pins)


def _pin(line: str) -> re.Match[str] | None:
    return _ENTRY.match(line)


def main(arguments: Sequence[str]) -> int:
    lock, wanted = (Path(argument).read_text(encoding="utf-8") for argument in arguments)
    try:
        sys.stdout.write(part_of(lock, wanted))
    except LookupError as error:
        sys.stderr.write(f"{error.args[0]}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
