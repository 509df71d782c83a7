from collections.abc import Iterator

import pytest

from .chromium import Chromium, Page, chromium
from .site import Site, running_site

__all__ = ["chromium"]


@pytest.fixture(scope="module")
def site(chromium: Chromium, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Not started where there is no Chromium."""
    with running_site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def page(chromium: Chromium) -> Iterator[Page]:
    with chromium.page() as page:
        yield page
