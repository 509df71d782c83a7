"""Installing the hash-pinned lock into a new `.venv`: with uv when it can be had, else with pip. Standard library only.

uv takes about 15 seconds, pip more than a minute. uv comes from the PATH, or from `installer.lock` into the `.venv`.
"""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

INSTALLER_LOCK = Path(__file__).with_name("installer.lock")

_NETWORK_SIGNS = (
    "NewConnectionError",
    "ConnectTimeout",
    "Connection refused",
    "Failed to establish",
    "Could not fetch",
    "name resolution",
    "dns error",
    "tcp connect error",
    "error sending request",
    "(from versions: none)",  # pip's last word, also when it was told not to try twice
)
_SILENCE_SECONDS = 5


class InstallError(Exception):
    """Why there is no environment, and what to do, in one sentence or two."""


def count_packages(lock: Path) -> int:
    return len(re.findall(r"^[A-Za-z0-9]", lock.read_text(), re.MULTILINE))


def make_venv(base: str, venv: Path) -> None:
    """An environment without pip: making one with it takes four seconds, which uv from the PATH saves."""
    _run([base, "-m", "venv", "--without-pip", str(venv)], "cannot make a virtual environment")


def sync(python: Path, lock: Path, packages: int) -> str:
    """Brings `python`'s environment to exactly what `lock` names, compiled; returns the name of the tool used."""
    uv = shutil.which("uv") or _uv_of(python)
    if uv:
        try:
            arguments = ["pip", "sync", "--require-hashes", "--compile-bytecode", "--python", str(python), str(lock)]
            _run([uv, *arguments], "uv could not install", _uv_environment(python), _uv_progress)
        except InstallError as error:
            _say(f"  {error}")
            _say("  trying pip in its place ...")
        else:
            return "uv"
    _ensure_pip(python)
    arguments = ["install", "--require-hashes", "--no-deps", "--progress-bar", "off", "-r", str(lock)]
    _run(_pip(python, *arguments), "pip could not install", progress=_Counter(packages))
    return "pip"


def _uv_of(python: Path) -> str | None:
    """The uv installed into the environment itself, or None when it cannot be had for this machine."""
    uv = python.with_name("uv")
    if not uv.exists():
        _ensure_pip(python)
        _say("  getting uv, which installs in seconds what takes pip a minute ...")
        arguments = ["install", "-q", "--retries", "1", "--require-hashes", "--no-deps", "-r", str(INSTALLER_LOCK)]
        try:
            _run(_pip(python, *arguments), "uv is not to be had here")
        except InstallError as error:  # a mirror without uv, a machine without a wheel of it: pip will do
            _say(f"  {error}")
    return str(uv) if uv.exists() else None


def _uv_environment(python: Path) -> dict[str, str]:
    """What uv runs with: uv reads no pip.conf, so the mirror that this machine's pip is told to use is handed to it."""
    environment = {"UV_SYSTEM_CERTS": "1", **os.environ}
    if not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & environment.keys():
        for candidate in (str(python), sys.executable):
            asked = subprocess.run(
                [candidate, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
            )
            found = re.findall(r"^(?:global|install|:env:)\.index-url='(.*)'$", asked.stdout, re.MULTILINE)
            if found:
                environment["UV_DEFAULT_INDEX"] = found[-1]
            if asked.returncode == 0:
                break
    return environment


def _ensure_pip(python: Path) -> None:
    if subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True, check=False).returncode:
        _run(
            [str(python), "-m", "ensurepip", "--default-pip"],
            "this Python comes without pip: install it (Debian and Ubuntu: apt install python3-venv) or uv",
            quiet=True,
        )


def _pip(python: Path, *arguments: str) -> list[str]:
    return [str(python), "-m", "pip", "--no-input", "--disable-pip-version-check", *arguments]


def _uv_progress(line: str) -> None:
    if not line.startswith((" + ", " - ", " ~ ")):  # one line a package: more than a screen of them
        _say(f"  {line.rstrip()}")


class _Counter:
    """Turns pip's lines into how far it is."""

    def __init__(self, packages: int) -> None:
        self.packages, self.seen = packages, 0

    def __call__(self, line: str) -> None:
        if line.startswith("Collecting "):
            self.seen += 1
            if self.seen % 20 == 0 or self.seen == self.packages:
                _say(f"  pip has fetched {self.seen} of {self.packages} packages ...")
        elif line.startswith("Installing collected"):
            _say("  pip is unpacking them ...")


class _Patience:
    """Says every few seconds that an installer is still at work: off a terminal uv is silent until it is done."""

    def __enter__(self) -> None:
        self._done = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._done.set()

    def _watch(self) -> None:
        begun = time.monotonic()
        while not self._done.wait(_SILENCE_SECONDS):
            _say(f"  ... {time.monotonic() - begun:.0f} s")


def _run(
    command: Sequence[str],
    failure: str,
    environment: dict[str, str] | None = None,
    progress: Callable[[str], None] | None = None,
    *,
    quiet: bool = False,
) -> None:
    """Runs `command` and shows what it says, or `progress`'s account of it. InstallError begins with `failure`.

    `close_fds=False`: an installer that outlives a killed manage.py goes on holding the project's lock.
    """
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        close_fds=False, text=True, errors="replace",
    )  # fmt: skip
    said: list[str] = []
    try:
        with process, _Patience():
            for line in process.stdout or ():
                said.append(line)
                if progress:
                    progress(line)
                elif not quiet:
                    _say(f"  {line.rstrip()}")
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode:
        if isinstance(progress, _Counter) or quiet:  # which kept these lines back
            _say("".join(f"  {line}" for line in said[-15:]).rstrip())
        reason = f"{failure} (exit {process.returncode}; the lines above say why)"
        if any(sign in line for line in said for sign in _NETWORK_SIGNS):
            reason = (
                f"{failure}: the package index cannot be reached, or has no such package. Check the network (a proxy "
                "goes into HTTPS_PROXY, a mirror into pip's configuration), then run the same command again"
            )
        raise InstallError(f"{reason}.")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
