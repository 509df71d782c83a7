"""What runs these commands: which Python, and whether its packages are those of the lock that it was made from."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.markers import Marker
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from core_config import ROOT
from operations.doctor_checks.finding import Check, Finding, ok, warning
from operations.doctor_checks.situation import Situation
from operations.environment import LOCK, VENV, installed_lock

_PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)==(\S+)(?: ; (.+?))? \\$", re.MULTILINE)
NAMED = 5
"""Of packages that differ."""


def find(situation: Situation) -> Iterator[Finding]:  # noqa: ARG001  every check is called alike
    inside = VENV.exists() and VENV.samefile(sys.prefix)
    version = ".".join(map(str, sys.version_info[:3]))
    where = f"{VENV.relative_to(ROOT)}" if inside else f"{sys.executable}, not manage.py's own .venv"
    yield ok(Check.PYTHON, f"{version} of {where}")
    remedy = (
        "rm -r .venv, then any command of manage.py installs it anew."
        if inside
        else "install them as requirements.lock pins them (uv pip sync --require-hashes requirements.lock), or leave "
        "LONGHAUL_NO_VENV unset."
    )
    lock = installed_lock() if inside else LOCK
    if lock.exists():
        yield packages(lock, remedy, all_wanted=inside)
    else:
        yield ok(Check.PACKAGES, f"there is no {lock.name} to hold them to, as in an image")


def packages(lock: Path, remedy: str, *, all_wanted: bool) -> Finding:
    """`all_wanted`: an environment of one's own may do without some."""
    installed = _installed()
    other, missing, pinned = [], [], 0
    for name, wanted, marker in _PIN.findall(lock.read_text(encoding="utf-8")):
        if marker and not Marker(marker).evaluate():
            continue
        pinned += 1
        found = installed.get(canonicalize_name(name))
        if found is None:
            missing.append(name)
        elif not _same(found, wanted):
            other.append(f"{name} {found} (pinned: {wanted})")
    if other or (missing and all_wanted):
        differing = [*other, *(f"{name} is missing" for name in missing if all_wanted)]
        more = f" and {len(differing) - NAMED} more" if len(differing) > NAMED else ""
        return warning(
            Check.PACKAGES,
            f"{len(differing)} of {pinned} are not as in {lock.name}: {', '.join(differing[:NAMED])}{more}",
            remedy,
        )
    without = f"; {len(missing)} of the lock are not installed here" if missing else ""
    return ok(Check.PACKAGES, f"{pinned - len(missing)} are as in {lock.name}{without}")


def _installed() -> dict[str, str]:
    """Versions by name, as the names of the folders say that installers leave: to read them all takes a second."""
    found: dict[str, str] = {}
    for folder in sys.path:
        for path in Path(folder or ".").glob("*.dist-info"):
            name, _, version = path.name.removesuffix(".dist-info").partition("-")
            found.setdefault(canonicalize_name(name), version)
    return found


def _same(found: str, wanted: str) -> bool:
    try:
        return Version(found) == Version(wanted)
    except InvalidVersion:
        return found == wanted
