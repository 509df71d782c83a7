"""What stays the same from one start to the next: ports, and the server that wrote the private Redis's data."""

import contextlib
import json
import os
from pathlib import Path

from operations import embedded_redis, ports


def port(var_dir: Path, name: str) -> int:
    """The port that `name` had last time if it is free, else another one, remembered."""
    known = _read(var_dir).get(f"{name}_port")
    found = ports.free_port(known if isinstance(known, int) else None)
    _remember(var_dir, f"{name}_port", found)
    return found


def redis_server(var_dir: Path) -> Path:
    """The server that wrote this copy's data: an older one could not read it. Else what `find_server` finds."""
    known = _read(var_dir).get("redis_server")
    if isinstance(known, str) and os.access(known, os.X_OK):
        return Path(known)
    found = embedded_redis.find_server()
    _remember(var_dir, "redis_server", str(found))
    return found


def _read(var_dir: Path) -> dict[str, object]:
    with contextlib.suppress(OSError, ValueError):
        stored = json.loads((var_dir / "kept.json").read_text())
        if isinstance(stored, dict):
            return stored
    return {}


def _remember(var_dir: Path, key: str, value: object) -> None:
    partial = var_dir / "kept.json.partial"
    partial.write_text(json.dumps(_read(var_dir) | {key: value}, indent=1) + "\n")
    partial.replace(var_dir / "kept.json")
