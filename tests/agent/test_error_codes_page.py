import re
from pathlib import Path

from agent.errors import ErrorCode

PAGE = Path(__file__).parents[2] / "docs" / "error-codes.md"


def test_the_page_lists_every_code_as_the_enum_has_it() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (yes|no) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    of_agent = [(code, retried == "yes", meaning) for code, retried, meaning in rows if code in set(ErrorCode)]
    assert of_agent == [(code.value, code.transient, code.meaning) for code in ErrorCode]
