"""Where `manage.py bench` runs Longhaul's peers: VAR_DIR/bench/venv, made from loadtest/bench/peers.lock, and for the
one that is no Python VAR_DIR/bench/bullmq.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from core_config import ROOT
from operations import install
from operations.errors import CommandError

LOCK: Final = ROOT / "loadtest" / "bench" / "peers.lock"
BULLMQ: Final = ROOT / "loadtest" / "bench" / "peers" / "bullmq"


def python(var_dir: Path) -> Path:
    """Its Python, made or not."""
    return var_dir.absolute() / "bench" / "venv" / "bin" / "python"


def make(python: Path) -> None:
    """Made anew when it is missing, unfinished or of another lock. CommandError when that fails."""
    venv = python.parent.parent
    finished = venv / "longhaul.finished"
    wanted = f"{hashlib.sha256(LOCK.read_bytes()).hexdigest()} {sys.version_info.major}.{sys.version_info.minor}"
    try:
        if finished.read_text() == wanted:
            return
    except OSError:
        pass
    packages = install.count_packages(LOCK)
    print(f"Installing the peers, {packages} pinned packages, into {venv} (once) ...", file=sys.stderr, flush=True)
    try:
        shutil.rmtree(venv, ignore_errors=True)
        venv.parent.mkdir(parents=True, exist_ok=True)
        install.make_venv(getattr(sys, "_base_executable", sys.executable), venv)
        install.sync(python, LOCK, packages)
        finished.write_text(wanted)
    except (OSError, install.InstallError) as error:
        raise CommandError(f"cannot install the peers into {venv}: {error}") from None


def make_bullmq(folder: Path) -> None:
    """Its program beside what npm installs by its lock. Where that cannot be had, says so: it is left out.

    Not `npm ci`: that refuses the lock, which lacks optional packages for other systems than Linux.
    """
    finished, wanted = folder / "longhaul.finished", _hash_of(BULLMQ)
    if finished.is_file() and finished.read_text() == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    if not (shutil.which("node") and shutil.which("npm")):
        print("BullMQ is left out: node and npm are not on the PATH.", file=sys.stderr, flush=True)
        return
    print(f"Installing BullMQ into {folder} (once) ...", file=sys.stderr, flush=True)
    shutil.copytree(BULLMQ, folder)
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        shutil.rmtree(folder)
        print(f"BullMQ is left out: npm install: {done.stderr.strip()[-500:]}", file=sys.stderr, flush=True)
        return
    finished.write_text(wanted)


def _hash_of(folder: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()
