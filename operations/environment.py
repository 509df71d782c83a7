"""The `.venv` that every command runs in: made from `requirements.lock` when missing or stale, then entered.

Standard library only: it runs before anything is installed. What it says goes to stderr, for `status --json | …`.

`test` needs more, `requirements-dev.lock`, which holds all of `requirements.lock` in the same versions. So a `.venv`
that has it is right for every command and stays as it is, also when it is brought up to date.

An interrupted install is never taken for a finished one: `FINISHED` is written last and removed before anything
changes, and a `.venv` without it is made anew. Only what `test` adds changes nothing that others use: `FINISHED` stays
meanwhile, so that the other commands work on, whatever becomes of the addition. Two first runs wait for each other
through a lock on the project's directory; the installer inherits it, so that it holds for as long as an installer still
writes, even when the `manage.py` that started it was killed.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from operations import install

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements.lock"
DEV_LOCK = ROOT / "requirements-dev.lock"
FOR_DEVELOPMENT = frozenset({"test"})
"""The commands that need `DEV_LOCK`."""

FINISHED = VENV / "longhaul.finished"  # "<name of the lock> <its sha256> <Python's version>"
UNFINISHED = VENV / "longhaul.unfinished"


def enter(arguments: Sequence[str]) -> None:
    """Returns when this process runs in an up-to-date `.venv`; otherwise makes it and runs `manage.py` again in it.

    Exits 1 with one sentence when it cannot, 130 on Ctrl-C.
    """
    needed = DEV_LOCK if arguments[0] in FOR_DEVELOPMENT else LOCK
    try:
        if _has(needed):
            if _inside():
                return
        else:
            with _alone():
                if not _has(needed):  # another first run may have made it while this one waited
                    _make(needed)
    except install.InstallError as error:
        _give_up(f"{error}", 1)
    except OSError as error:
        _give_up(f"cannot make {VENV}: {error}. Mend that and run the same command again.", 1)
    except KeyboardInterrupt:
        _give_up("interrupted; the same command starts the installation anew.", 130)
    manage = str(ROOT / "manage.py")
    os.execv(PYTHON, [str(PYTHON), manage, *arguments])  # noqa: S606 no shell is wanted


def installed_lock() -> Path:
    """The lock that `.venv` was made from; `LOCK` if there is none."""
    name, _, _ = _finished()
    return DEV_LOCK if name == DEV_LOCK.name else LOCK


def _give_up(sentence: str, code: int) -> NoReturn:
    print(f"manage.py: {sentence}", file=sys.stderr)
    sys.exit(code)


def _inside() -> bool:
    return VENV.exists() and Path(sys.prefix).samefile(VENV)


def _version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _finished() -> tuple[str, str, str]:
    """What `FINISHED` says; three empty words if there is none that can be read."""
    try:
        name, lock, version = FINISHED.read_text().split()
    except (OSError, ValueError):
        return "", "", ""
    return name, lock, version


def _has(needed: Path) -> bool:
    name, lock, version = _finished()
    if name not in {needed.name, DEV_LOCK.name} or lock != _hash(ROOT / name):
        return False
    # The machine's Python may have been upgraded under the environment: only a process inside can tell.
    return (version == _version() or not _inside()) and os.access(PYTHON, os.X_OK)


def _hash(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    descriptor = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another manage.py is installing; waiting for it ...")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.set_inheritable(descriptor, True)
        yield
    finally:
        os.close(descriptor)


def _make(needed: Path) -> None:
    begun = time.monotonic()
    lock = DEV_LOCK if installed_lock() == DEV_LOCK else needed
    adding = _has(LOCK)
    _clear(adding=adding)
    base = getattr(sys, "_base_executable", sys.executable)
    packages = install.count_packages(lock)
    what = f"what development needs besides, of {packages}" if adding else f"{packages}"
    _say(f"Longhaul: installing {what} pinned packages into {VENV} (Python {_version()}, once) ...")
    if not PYTHON.exists():
        install.make_venv(base, VENV)
    installer = install.sync(PYTHON, lock, packages)
    partial = FINISHED.with_suffix(".partial")
    with partial.open("w") as file:
        file.write(f"{lock.name} {_hash(lock)} {_version()}\n")
        file.flush()
        os.fsync(file.fileno())
    UNFINISHED.unlink()
    partial.rename(FINISHED)
    _say(f"Longhaul: installed with {installer} in {time.monotonic() - begun:.0f} s.")


def _clear(*, adding: bool) -> None:
    """Leaves a `.venv` that is marked unfinished: the finished one to add to or bring up to date, else an empty one."""
    if VENV.is_symlink() or VENV.exists():
        ours = VENV.is_dir() and (FINISHED.exists() or UNFINISHED.exists() or not any(VENV.iterdir()))
        if VENV.is_symlink() or not ours:
            raise install.InstallError(
                f"{VENV} was not made by manage.py. Move it away and run the same command again, "
                "or set LONGHAUL_NO_VENV=1 to use the Python that you run manage.py with."
            )
        usable = FINISHED.exists() and not UNFINISHED.exists() and os.access(PYTHON, os.X_OK)
        if not (usable and FINISHED.read_text().split()[-1:] == [_version()]):
            shutil.rmtree(VENV)
    VENV.mkdir(exist_ok=True)
    UNFINISHED.touch()
    if not adding:
        FINISHED.unlink(missing_ok=True)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
