"""docs/simulator.md names every directive, option, provider error and journal field, and nothing that is not there."""

import re
import subprocess
import sys
from dataclasses import fields

from loadtest.simulator.behaviour import DIRECTIVES, read_rule
from loadtest.simulator.journal import Entry, Outcome
from loadtest.simulator.provider_errors import PROVIDER_ERRORS
from tests.simulator.server import ROOT

PAGE = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")


def test_every_directive_is_shown_and_every_shown_one_works() -> None:
    blocks = re.findall(r"`\[\[(.+?)\]\]`", PAGE)
    assert blocks
    for block in blocks:
        read_rule(block)
    shown = {word.partition("=")[0] for block in blocks for word in block.split()}
    assert shown == set(DIRECTIVES)


def test_every_provider_error_is_listed_with_its_status() -> None:
    table = PAGE[PAGE.index("## Provider errors") : PAGE.index("## The journal")]
    listed: dict[str, int] = {}
    for names, statuses in re.findall(r"^\| (`.+?) \| ([\d, ]+) \|$", table, re.MULTILINE):
        found = re.findall(r"`([a-z]+_[a-z_]+)`", names)
        codes = [int(code) for code in statuses.split(", ")]
        listed |= dict(zip(found, codes if len(codes) > 1 else codes * len(found), strict=True))
    assert listed == {name: error.status for name, error in PROVIDER_ERRORS.items()}


def test_every_option_is_listed() -> None:
    usage = subprocess.run(
        [sys.executable, "-m", "loadtest.simulator", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert set(re.findall(r"--[a-z][a-z-]+", PAGE)) == set(re.findall(r"--[a-z][a-z-]+", usage)) - {"--help"}


def test_every_journal_field_and_outcome_is_listed() -> None:
    table = PAGE[PAGE.index("## The journal") :]
    names = {field.name for field in fields(Entry)} - {"began"} | {outcome.value for outcome in Outcome}
    assert names <= set(re.findall(r"`([a-z_]+)`", table))
