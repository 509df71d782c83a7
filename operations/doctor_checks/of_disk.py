"""Room under VAR_DIR, where logs, pid files and the private Redis's data go."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from operations import terminal
from operations.doctor_checks.finding import Check, Finding, failure, ok, warning
from operations.doctor_checks.situation import Situation

TOO_LITTLE = 200_000_000
LITTLE = 1_000_000_000
FEW_FILES = 1_000
"""Bytes, and how many more files there may be."""


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
    yield room(path, shutil.disk_usage(folder).free, about.f_favail if about.f_files else None)


def room(path: Path, free: int, files: int | None) -> Finding:
    """`free`: bytes; `files`: how many more there may be, None when there is no such limit."""
    says = f"{terminal.megabytes(free)} free under VAR_DIR={path}"
    remedy = "Make room (df -h, df -i; old logs under VAR_DIR/logs), or set VAR_DIR to another disk."
    if files is not None and files < FEW_FILES:
        says += f", and room for {files} more files only"
        return failure(Check.DISK, says, remedy)
    if free < TOO_LITTLE:
        return failure(Check.DISK, says, remedy)
    if free < LITTLE:
        return warning(Check.DISK, says, remedy)
    return ok(Check.DISK, says)
