"""Programs that come from Debian. In CI each of them must be there."""

import os
import shutil

import pytest


def found(name: str, package: str) -> str | None:
    """Its path."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/local/bin:/usr/bin:/bin")  # CI's has only Python
    assert path or not os.environ.get("CI"), _missing(name, package)
    return path


def program(name: str, package: str) -> str:
    """The same; skips where it is missing."""
    return found(name, package) or pytest.skip(_missing(name, package))


def _missing(name: str, package: str) -> str:
    return f"{name} is not installed (Debian: apt-get install {package})"
