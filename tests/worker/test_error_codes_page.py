"""docs/error-codes.md and the three places that know error codes are of one mind."""

import re

from agent.errors import ErrorCode as AgentsCode
from core_config import ROOT
from taskstore.error_codes import ErrorCode


def test_every_code_of_a_task_is_explained():
    explained = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "error-codes.md").read_text(), re.MULTILINE)
    assert sorted(explained) == sorted(code.value for code in ErrorCode)


def test_the_agents_codes_are_among_the_tasks():
    assert {code.value for code in AgentsCode} <= {code.value for code in ErrorCode}
