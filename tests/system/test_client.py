"""docs/client.md: its examples run as they stand, against the system as shipped."""

import os
import re
import subprocess
import sys

import pytest

from core_config import ROOT
from longhaul_client import AsyncClient, Client, ResultEvent, TokenEvent

PAGE = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_every_method_is_explained_and_has_an_example():
    code = "\n".join(EXAMPLES)
    for name in {*vars(Client), *vars(AsyncClient)}:
        if not name.startswith("_") and name != "aclose":
            assert f"client.{name}(" in code, name
    for name in {*vars(Client), *vars(AsyncClient)}:
        assert name.startswith("_") or f"`{name}" in PAGE, name


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs(system, tmp_path, number):
    file = tmp_path / "example.py"
    file.write_text(EXAMPLES[number], encoding="utf-8")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LONGHAUL_URL": system.url}
    # a proxy of the user's has no business on loopback
    environment["HTTP_PROXY"] = environment["http_proxy"] = "http://127.0.0.1:9"
    done = subprocess.run(
        [sys.executable, "-W", "error", file], capture_output=True, text=True, timeout=180, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() or "assert" in EXAMPLES[number]


def test_the_words_of_a_chat_stream_are_its_answer(system):
    with Client(system.url) as client, client.chat_stream("[[tokens=12]] hello") as events:
        seen = list(events)
        said = "".join(event.text for event in seen if isinstance(event, TokenEvent))
        last = seen[-1]
        assert isinstance(last, ResultEvent)
        assert said == last.task.answer() != ""
        assert events.task_id == seen[0].task_id


def test_ask_tells_what_happens_and_where_nothing_answers(system):
    asked = system.manage("ask", "Compute 6 * 7")
    assert asked.returncode == 0, asked.stderr
    for said in ("  running ...", "  model Simulator ...", "  tool calculator ..."):
        assert said in asked.stderr.splitlines(), asked.stderr
    elsewhere = system.manage("ask", "Compute 6 * 7", "--url", "http://127.0.0.1:9")
    assert elsewhere.returncode == 1
    assert "nothing answers at http://127.0.0.1:9 (nothing listens there" in elsewhere.stderr
    assert elsewhere.stderr.rstrip().endswith("Start it: python3 manage.py start.")
    for address in ("nonsense", "ftp://127.0.0.1"):
        none = system.manage("ask", "Compute 6 * 7", "--url", address)
        assert none.returncode == 1
        assert f"'{address}' is no address of a gateway" in none.stderr
