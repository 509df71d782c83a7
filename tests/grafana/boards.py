"""The dashboards as they ship: the committed JSON."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from core_config import ROOT

FOLDER = ROOT / "monitoring" / "grafana" / "dashboards"
BOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))
}


@dataclass(frozen=True, slots=True)
class Target:
    board: str
    panel: dict[str, Any]
    expression: str
    legend: str

    def __str__(self) -> str:
        return f"{self.board}: {self.panel['title']}: {self.expression}"

    def asked(self, window: str, span: str) -> str:
        """As Grafana would ask with All chosen: `window` for $__rate_interval, `span` for the time on the page."""
        asked = self.expression.replace("$__rate_interval", window).replace("$__range", span)
        return re.sub(r"\$(model|agent|caller)\b", ".*", asked)


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Without rows."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def targets() -> Iterator[Target]:
    for name, board in BOARDS.items():
        for panel in panels(board):
            for target in panel["targets"]:
                yield Target(name, panel, target["expr"], target.get("legendFormat", ""))


TARGETS = list(targets())
IDS = [
    f"{target.board}-{target.panel['id']}-{number}"
    for target in TARGETS
    for number, one in enumerate(target.panel["targets"])
    if one["expr"] == target.expression
]
