"""The runbook and what it speaks of: alerts, panels, log lines and commands exist, and no alert lacks its section."""

import re

import orjson
import pytest

from core_config import ROOT
from manage import COMMANDS
from tests.prometheus import shipped

TEXT = shipped.RUNBOOK.read_text(encoding="utf-8")
SECTIONS = {found[1]: found[2] for found in re.finditer(r"^### (\w+)\n(.*?)(?=^##|\Z)", TEXT, re.DOTALL | re.MULTILINE)}
NIGHTS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in TEXT.partition("## Ten nights")[2].partition("\n## ")[0].splitlines()
    if line.startswith("|") and "[" in line
]
SOURCES = "\n".join(
    path.read_text(encoding="utf-8")
    for part in ("agent", "gateway", "monitoring", "operations", "taskstore", "worker")
    for path in sorted((ROOT / part).rglob("*.py"))
)
OF_OTHERS = {"Notify attempt failed", "signal 9"}
"""What Alertmanager writes, and a value of a line of ours."""


def panels() -> set[str]:
    """As `dashboard: panel`, of the dashboards that ship."""
    found = set()
    for path in sorted((ROOT / "monitoring" / "grafana").rglob("*.json")):
        dashboard = orjson.loads(path.read_bytes())
        for panel in dashboard.get("panels", []):
            inside = [panel, *panel.get("panels", [])]
            found |= {(dashboard["title"], one["title"]) for one in inside if one.get("title")}
    return {f"{title.removeprefix('Longhaul ').removeprefix('/ ').strip()}: {panel}" for title, panel in found}


def line(section: str, what: str) -> str:
    """The text after **what**, up to the next point of the list; empty when there is none."""
    found = re.search(rf"^- \*\*{what}\*\* (.*?)(?=^- \*\*|\Z)", section, re.DOTALL | re.MULTILINE)
    return found[1].strip() if found else ""


def test_each_alert_has_its_section_and_each_section_its_alert():
    assert set(SECTIONS) == set(shipped.alerts())
    anchors = [name.lower() for name in SECTIONS]
    assert len(set(anchors)) == len(anchors)


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_a_section_says_where_to_look_and_what_to_do(name):
    section = SECTIONS[name]
    severity = shipped.alerts()[name]["labels"]["severity"]
    assert section.strip().lower().startswith(severity), f"{name} is a {severity}"
    for what in ("Panel", "Log", "Command", "Do", "Don't"):
        assert line(section, what), f"{name} has no {what}"


def events(text: str) -> set[str]:
    """What stands between backticks: each line of a log begins so, before its fields or what is left out."""
    found = set()
    for quoted in re.findall(r"`([^`]+)`", text):
        event = re.split(r" …|…| [\w]+=", quoted)[0].strip()
        if re.fullmatch(r"\w+=\S*", event) or event.isupper():  # a field of the line before, a setting
            continue
        found.add(re.sub(r"^(?:worker|gateway)-\d", "%s", event))
    return found


def test_every_log_line_exists():
    fields = set(re.findall(r'\b(\w+)=|"(\w+)":', SOURCES))
    fields = {one for pair in fields for one in pair if one}
    for name, text in [
        *((name, line(section, "Log")) for name, section in SECTIONS.items()),
        *((n[0], n[3]) for n in NIGHTS),
    ]:
        for event in events(text) - OF_OTHERS:
            assert f'"{event}' in SOURCES or event in fields, f"{name}: nothing logs {event!r}"


def test_every_command_exists():
    known = {name for name, _ in COMMANDS}
    for found in re.finditer(r"manage\.py (\w+)", TEXT):
        assert found[1] in known, found[0]


def test_every_panel_exists():
    shown = panels()
    if not shown:
        pytest.skip("no dashboard ships in this checkout")
    for name, section in SECTIONS.items():
        named = line(section, "Panel").removesuffix(" (no data)")
        assert named in shown, f"{name}: there is no panel {named!r}"
    for night in NIGHTS:
        assert night[2] in shown, night


def test_the_ten_nights_are_ten_and_each_is_an_alerts():
    assert len(NIGHTS) == 10
    for _, link, panel, log, command in NIGHTS:
        name = re.fullmatch(r"\[(\w+)\]\(#(\w+)\)", link)
        assert name, link
        assert name[1] in SECTIONS
        assert name[1].lower() == name[2]
        assert panel
        assert log
        assert re.match(r"`manage\.py \w+", command)


def test_no_link_of_the_page_leads_nowhere():
    for target in re.findall(r"\]\(#([\w-]+)\)", TEXT):
        assert target in {name.lower() for name in SECTIONS}, target
    for page, anchor in re.findall(r"\]\(([\w-]+\.md)(?:#([\w-]+))?\)", TEXT):
        text = (shipped.RUNBOOK.parent / page).read_text(encoding="utf-8")
        headings = {
            re.sub(r"[^\w -]", "", one).strip().lower().replace(" ", "-")
            for one in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        }
        assert not anchor or anchor in headings, f"{page}#{anchor}"
