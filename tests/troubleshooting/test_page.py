"""docs/troubleshooting.md: each row's message is really said, and every message that is provoked has a row."""

import inspect
import re

import pytest

from core_config import ROOT

from . import at_start, in_a_browser, of_a_task, of_redis, over_http
from .provoke import PROVOKERS

MODULES = (at_start, over_http, of_redis, of_a_task, in_a_browser)
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r'^\| <a id="([a-z-]+)"></a>`(.+?)` \| .+ \| .+ \|$', PAGE, re.MULTILINE))
"""By id, the message as the page shows it."""


def test_every_row_has_a_provoker_and_every_provoker_a_row() -> None:
    assert sorted(ROWS) == sorted(PROVOKERS)
    assert len(ROWS) == PAGE.count("<a id="), "each row is read, and each id is used once"
    defined = {one for module in MODULES for one in vars(module).values() if inspect.isfunction(one)}
    assert set(PROVOKERS.values()) <= defined


@pytest.mark.parametrize("row", ROWS)
def test_the_message_of_a_row_is_said(row: str, request: pytest.FixtureRequest) -> None:
    provoker = PROVOKERS[row]
    said = provoker(**{name: request.getfixturevalue(name) for name in inspect.signature(provoker).parameters})
    pattern = ".*?".join(re.escape(part.strip()) for part in ROWS[row].split("…"))
    assert re.search(pattern, said, re.DOTALL), said
