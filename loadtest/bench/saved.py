"""A run as a JSON file: what was found, where, when and of what."""

import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loadtest.bench.harness import Record
from loadtest.bench.study import Failure, Sample

FORMAT = 1


class SavedRunError(Exception):
    """The file holds no run that this version can read."""


@dataclass(frozen=True)
class Saved:
    """`date` is UTC; `versions` holds Python's, Redis's, the peers' and whatever else was compared."""

    date: str
    machine: str
    cores: int
    commit: str
    command: str
    versions: Mapping[str, str]
    samples: tuple[Sample, ...]
    failures: tuple[Failure, ...]


def made_of(record: Record, command: str, commit: str, versions: Mapping[str, str]) -> Saved:
    return Saved(
        datetime.now(UTC).isoformat(timespec="seconds"), machine(), os.cpu_count() or 1, commit, command,
        versions, tuple(record.samples), tuple(record.failures),
    )  # fmt: skip


def write(path: Path, saved: Saved) -> None:
    """Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"format": FORMAT, **asdict(saved)}, indent=1) + "\n")


def read(path: Path) -> Saved:
    """Raises SavedRunError, with the path."""
    try:
        stored: dict[str, Any] = json.loads(path.read_text())
        if stored.pop("format") != FORMAT:
            raise SavedRunError(f"{path} is of another version of this command; measure it again")
        samples = tuple(Sample(**one) for one in stored.pop("samples"))
        failures = tuple(Failure(**one) for one in stored.pop("failures"))
        return Saved(samples=samples, failures=failures, **stored)
    except OSError as error:
        raise SavedRunError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise SavedRunError(f"{path} holds no run of manage.py bench") from None


def machine() -> str:
    """The processor's name and the system's."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {platform.system()} {platform.release()}"


def commit_of(root: Path) -> str:
    """Short, with a `+` when files differ from it; empty where there is no git."""
    try:
        run = [
            subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=30)
            for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        ]
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if any(one.returncode for one in run) else run[0].stdout.strip() + ("+" if run[1].stdout else "")


def versions(pinned: Path, more: Mapping[str, str]) -> dict[str, str]:
    """Python's, `more`, and of the packages that `pinned` (a `.in` file) names what its `.lock` beside it pins."""
    named = {re.split(r"[\[<>=# ]", line)[0] for line in pinned.read_text().splitlines()} - {""}
    found = {"Python": platform.python_version(), **more}
    for line in pinned.with_suffix(".lock").read_text().splitlines():
        name, mark, pin = line.partition("==")
        if mark and name in named:
            found[name] = pin.split()[0]
    return found
