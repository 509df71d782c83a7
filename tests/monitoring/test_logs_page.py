"""docs/logs.md: every event that it names is in the code, at that level; every error that the code logs is in it."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from core_config import ROOT

PACKAGES = ("agent", "gateway", "monitoring", "taskstore", "worker")
LEVELS = {
    "debug": "DEBUG",
    "info": "INFO",
    "warning": "WARNING",
    "error": "ERROR",
    "exception": "ERROR",
    "critical": "CRITICAL",
}
EVENT = re.compile(r"[a-z]+(?:_[a-z]+)+")
ROW = re.compile(r"^\| `([a-z_]+)` \| (DEBUG|INFO|WARNING|ERROR|CRITICAL) \| (.*)$", re.MULTILINE)


def files() -> Iterator[tuple[Path, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def logged() -> dict[str, set[str]]:
    """Event and the levels that it is logged at, of calls that say both."""
    found = defaultdict(set)
    for _, module in files():
        for call in ast.walk(module):
            match call:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="log" | "logger"), attr=level),
                    args=[ast.Constant(value=str(event)), *_],
                ) if level in LEVELS:
                    found[event].add(LEVELS[level])
    return found


def words() -> set[str]:
    """All texts of the code: an event may be chosen from several, or have its level chosen."""
    return {
        node.value
        for _, module in files()
        for node in ast.walk(module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def rows() -> dict[str, tuple[str, str]]:
    text = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
    return {event: (level, rest) for event, level, rest in ROW.findall(text)}


def test_every_event_of_the_page_is_in_the_code_at_its_level():
    told, known, found = rows(), words(), logged()
    assert len(told) > 40
    assert sorted(told.keys() - known) == []
    wrong = {
        event: (level, found[event]) for event, (level, _) in told.items() if event in found and found[event] != {level}
    }
    assert wrong == {}


def test_every_error_of_the_code_is_on_the_page():
    told = rows()
    errors = {event for event, levels in logged().items() if levels & {"ERROR", "CRITICAL"} and EVENT.fullmatch(event)}
    assert len(errors) > 15
    assert sorted(errors - told.keys()) == []


def test_the_settings_of_the_page_exist():
    text = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)", text))
    assert {"LOG_LEVEL", "LOG_FORMAT", "LOG_CONTENT"} <= named
    assert sorted(name for name in named if f"\n{name}=" not in example) == []
