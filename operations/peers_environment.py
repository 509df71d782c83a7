"""Where `manage.py bench` runs Longhaul's peers: VAR_DIR/bench/venv, made from loadtest/bench/peers.lock."""

import hashlib
import shutil
import sys
from pathlib import Path
from typing import Final

from core_config import ROOT
from operations import install
from operations.errors import CommandError

LOCK: Final = ROOT / "loadtest" / "bench" / "peers.lock"


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
