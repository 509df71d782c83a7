"""deploy/runtime_lock.py: what is installed into the image is the lock's, with its hashes, or nothing is built."""

import subprocess
import sys
from pathlib import Path

import pytest

from core_config import ROOT

LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def cut(folder: Path, *wanted: str) -> "subprocess.CompletedProcess[str]":
    (folder / "wanted.txt").write_text("".join(f"{line}\n" for line in wanted))
    command = [sys.executable, str(ROOT / "deploy" / "runtime_lock.py"), str(ROOT / "requirements.lock"), "wanted.txt"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def entry(name: str) -> tuple[str, str]:
    """`name==version` and the lines of a package of the lock."""
    begin = LOCK.index(f"\n{name}==") + 1
    lines = [LOCK[begin:].partition("\n")[0]]
    for line in LOCK[begin:].splitlines()[1:]:
        if not line.startswith(" "):
            break
        lines.append(line)
    return lines[0].split()[0], "\n".join(lines) + "\n"


def test_it_prints_the_entries_asked_for_with_all_their_hashes(tmp_path: Path) -> None:
    (arq, arq_lines), (uvloop, uvloop_lines) = entry("arq"), entry("uvloop")
    done = cut(tmp_path, arq, uvloop)
    assert (done.returncode, done.stdout) == (0, arq_lines + uvloop_lines)
    assert "--hash=sha256:" in arq_lines
    assert "sys_platform" in uvloop_lines, "its condition too"


@pytest.mark.parametrize("pin", ["arq==0.25.0", "not-in-the-lock==1.0"])
def test_what_the_lock_does_not_have_ends_it(tmp_path: Path, pin: str) -> None:
    done = cut(tmp_path, entry("redis")[0], pin)
    assert (done.returncode, done.stdout) == (1, "")
    assert pin in done.stderr
