"""What the Dockerfile puts into the image, made by hand: its COPY lines, .dockerignore, its ENV, its user."""

import fnmatch
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from core_config import ROOT


@dataclass(frozen=True)
class Instruction:
    word: str
    rest: str


@cache
def instructions() -> tuple[list[Instruction], list[Instruction]]:
    """Of the stage that builds and of the one that is shipped."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    stages: list[list[Instruction]] = []
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            stages.append([])
        stages[-1].append(Instruction(word, rest.strip()))
    build, shipped = stages
    return build, shipped


def variables() -> dict[str, str]:
    """ENV of the image."""
    return dict(
        part.partition("=")[::2] for one in instructions()[1] if one.word == "ENV" for part in shlex.split(one.rest)
    )


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps the path, relative to the project, out of a build: its last line that fits counts."""
    out = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        wanted = pattern.startswith("!")
        parts = path.split("/")
        if any(_fits("/".join(parts[:depth]), pattern.removeprefix("!")) for depth in range(1, len(parts) + 1)):
            out = not wanted
    return out


def _fits(path: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch.fnmatchcase(path.rsplit("/", 1)[-1], pattern.removeprefix("**/"))
    return path.count("/") == pattern.count("/") and fnmatch.fnmatchcase(path, pattern)


def copied() -> Iterator[tuple[Path, str]]:
    """Each file that goes into /app of the image: where it is in the project, and where there."""
    folder = ""
    for one in instructions()[0]:
        if one.word == "WORKDIR":
            folder = one.rest
        if one.word != "COPY" or folder != "/app":  # what is copied elsewhere stays behind in its stage
            continue
        *sources, target = one.rest.split()
        for source in sources:
            path = ROOT / source
            files = sorted(path.rglob("*")) if path.is_dir() else [path]
            for file in files:
                if file.is_file() and not ignored(file.relative_to(ROOT).as_posix()):
                    inside = file.relative_to(path).as_posix() if path.is_dir() else file.name
                    yield file, os.path.normpath(f"{target}/{inside}")


def make(folder: Path) -> None:
    """/app of the image in `folder`, where nobody may write."""
    for file, inside in copied():
        (folder / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / inside)
        (folder / inside).chmod(0o444)
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o555)


def release(folder: Path) -> None:
    """Lets whoever made it remove it again."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
