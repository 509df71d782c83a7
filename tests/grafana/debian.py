"""Programs that come from Debian: skipped without them, save in CI."""

import os
import shutil

import pytest


def path() -> str:
    """CI's PATH has nothing but Python."""
    return f"{os.environ.get('PATH', '')}:/usr/local/bin:/usr/bin:/bin"


def program(name: str, package: str) -> str:
    found = shutil.which(name, path=path())
    if found is None:
        reason = f"{name} is not installed (Debian: apt-get install {package})"
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)
    return found
