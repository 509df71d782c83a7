"""What Grafana would refuse, mix up or draw over each other, read from the JSON that ships."""

import re
from itertools import combinations
from typing import Any

import pytest

from core_config import ROOT
from monitoring.grafana import build
from monitoring.grafana.board import SOURCE_UID

from .boards import BOARDS, FOLDER, panels

TYPES = {"row", "timeseries", "stat", "state-timeline", "table"}
"""Those that we use; `graph`, `singlestat` and `table-old` were removed from Grafana."""


def test_the_committed_json_is_what_the_code_makes() -> None:
    """Otherwise: python -m monitoring.grafana.build."""
    made = build.render()
    assert {path.name for path in FOLDER.iterdir()} == set(made)
    for name, text in made.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"{name}: run python -m monitoring.grafana.build"


def test_every_dashboard_has_its_own_uid_and_title() -> None:
    assert [board["uid"] for board in BOARDS.values()] == [f"longhaul-{name}" for name in BOARDS]
    assert len({board["title"] for board in BOARDS.values()}) == len(BOARDS) == 4
    assert all(board.get("id") is None for board in BOARDS.values())  # it is each Grafana's own


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
class TestBoard:
    def test_ids_and_ref_ids_are_unique_and_ours(self, board: dict[str, Any]) -> None:
        numbers = [panel["id"] for panel in board["panels"]]
        assert 0 not in numbers
        assert len(set(numbers)) == len(numbers)
        for panel in panels(board):
            letters = [target["refId"] for target in panel["targets"]]
            assert letters == [chr(ord("A") + place) for place in range(len(letters))], panel["title"]
            assert letters, panel["title"]

    def test_the_types_are_ones_that_grafana_has(self, board: dict[str, Any]) -> None:
        assert {panel["type"] for panel in board["panels"]} <= TYPES

    def test_panels_are_in_the_grid_and_do_not_overlap(self, board: dict[str, Any]) -> None:
        places = [(panel["title"], panel["gridPos"]) for panel in board["panels"]]
        for title, at in places:
            assert at["x"] >= 0, title
            assert at["x"] + at["w"] <= 24, title
        for (one, a), (other, b) in combinations(places, 2):
            apart = (
                a["x"] + a["w"] <= b["x"]
                or b["x"] + b["w"] <= a["x"]
                or a["y"] + a["h"] <= b["y"]
                or b["y"] + b["h"] <= a["y"]
            )
            assert apart, f"{one} lies over {other}"

    def test_every_panel_says_what_it_is_and_in_what_unit(self, board: dict[str, Any]) -> None:
        for panel in panels(board):
            assert len(panel["description"]) > 15, panel["title"]
            if panel["type"] in {"timeseries", "stat"}:
                assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert len({panel["title"] for panel in panels(board)}) == len(panels(board))

    def test_limits_rise_from_a_colour_below_all(self, board: dict[str, Any]) -> None:
        for panel in panels(board):
            steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps")
            if steps:
                assert steps[0]["value"] is None, panel["title"]
                values = [step["value"] for step in steps[1:]]
                assert values == sorted(set(values)), panel["title"]

    def test_every_query_asks_the_data_source_that_is_chosen(self, board: dict[str, Any]) -> None:
        chosen = {"type": "prometheus", "uid": "${datasource}"}
        for panel in panels(board):
            assert panel["datasource"] == chosen
            assert all(target["datasource"] == chosen for target in panel["targets"])

    def test_variables_are_the_used_ones(self, board: dict[str, Any]) -> None:
        known = {one["name"]: one for one in board["templating"]["list"]}
        used = {
            name
            for panel in panels(board)
            for target in panel["targets"]
            for name in re.findall(r"\$(\w+)", target["expr"])
        }
        assert used - {"__rate_interval", "__range"} == set(known) - {"datasource", "runbook"}
        for name in used & set(known):
            assert known[name]["allValue"] == ".*"  # also series without the label
            assert known[name]["multi"]
        assert known["datasource"]["current"]["value"] == SOURCE_UID

    def test_it_leads_to_the_others_and_to_the_runbook(self, board: dict[str, Any]) -> None:
        others, runbook = board["links"]
        assert others["type"] == "dashboards"
        assert set(others["tags"]) <= set(board["tags"])
        assert others["keepTime"]
        assert others["includeVars"]
        assert runbook["url"] == "${runbook:raw}"


def test_a_column_of_a_table_has_a_name_of_its_own() -> None:
    """The override of a column's unit goes by that name."""
    for board in BOARDS.values():
        for panel in panels(board):
            if panel["type"] == "table":
                organize = panel["transformations"][-1]["options"]
                names = organize["renameByName"]
                assert list(names) == [f"Value #{target['refId']}" for target in panel["targets"]]
                overrides = [one["matcher"]["options"] for one in panel["fieldConfig"]["overrides"]]
                assert overrides == list(names.values())


def test_provisioning_has_the_uid_and_the_interval_that_the_dashboards_count_on() -> None:
    provisioned = (FOLDER.parent / "provisioning" / "datasources" / "longhaul.yaml").read_text()
    assert f"uid: {SOURCE_UID}\n" in provisioned
    interval = re.search(r"timeInterval: (\w+)", provisioned)
    scraped = re.search(r"scrape_interval: (\w+)", (ROOT / "monitoring/prometheus/prometheus.yml").read_text())
    assert interval is not None
    assert scraped is not None
    assert interval[1] == scraped[1]


def test_every_section_of_the_runbook_that_a_panel_leads_to_is_there() -> None:
    sections = {
        title.lower() for title in re.findall(r"^### (\w+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)
    }
    led = {
        (name, anchor)
        for board in BOARDS.values()
        for panel in panels(board)
        for name, anchor in re.findall(r"\[(\w+)\]\(\$\{runbook\}#(\w+)\)", panel["description"])
    }
    assert len(led) > 30
    for name, anchor in led:
        assert anchor == name.lower()
        assert anchor in sections, f"docs/runbook.md has no section {name}"
