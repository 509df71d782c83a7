"""Room under VAR_DIR, where logs, pid files and the private Redis's data go."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from operations import terminal
from operations.doctor_checks.finding import Check, Finding, failure, ok, warning
from operations.doctor_checks.situation import Situation

TOO_LITTLE, LITTLE = 200_000_000, 1_000_000_000
"""Bytes."""
TOO_LITTLE_OF_ALL, LITTLE_OF_ALL = 0.05, 0.1
"""Of a file system that is small by intent, as a container's /tmp."""
FEW_FILES = 1_000


def find(situation: Situation) -> Iterator[Finding]:
    path = situation.settings.var_dir
    folder = next(one for one in (path, *path.parents) if one.exists())
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        yield failure(
            Check.DISK, f"VAR_DIR={path} cannot be written to", "Mend its rights, or set VAR_DIR to a folder that can."
        )
        return
    about = os.statvfs(folder)
    # some file systems make files as they are needed, and say 0 of 0
    usage = shutil.disk_usage(folder)
    yield room(path, usage.free, usage.total, about.f_favail if about.f_files else None)


def room(path: Path, free: int, total: int, files: int | None) -> Finding:
    """`free`, `total`: bytes; `files`: how many more there may be, None when there is no such limit."""
    says = f"{terminal.megabytes(free)} free under VAR_DIR={path}"
    remedy = "Make room (df -h, df -i; old logs under VAR_DIR/logs), or set VAR_DIR to another disk."
    if files is not None and files < FEW_FILES:
        says += f", and room for {files} more files only"
        return failure(Check.DISK, says, remedy)
    if free < min(TOO_LITTLE, TOO_LITTLE_OF_ALL * total):
        return failure(Check.DISK, says, remedy)
    if free < min(LITTLE, LITTLE_OF_ALL * total):
        return warning(Check.DISK, says, remedy)
    return ok(Check.DISK, says)
