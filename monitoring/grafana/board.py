"""A dashboard out of rows of panels: places on the grid, variables, links."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from .panels import SOURCE

SOURCE_UID = "longhaul-prometheus"
"""Of the data source that provisioning and import_dashboard.py make."""
TAG = "longhaul"
RUNBOOK = "docs/runbook.md"
COLUMNS = 24

_ANSWERED = '{__name__=~"agent_tasks_submitted_total|agent_model_calls_total"}'
_VARIABLES = {
    "model": f"label_values({_ANSWERED}, model)",  # a fallback is called without a task that names it
    "agent": "label_values(agent_tasks_submitted_total, agent)",
    "caller": "label_values(agent_tasks_submitted_total, caller)",
}
MODEL, AGENT, CALLER = (f'{name}=~"${name}"' for name in _VARIABLES)


@dataclass(frozen=True, slots=True)
class Row:
    number: int
    title: str
    panels: Sequence[model.Panel]


def board(uid: str, title: str, about: str, *rows: Row) -> str:
    """The dashboard's JSON. It has a variable for each of model, agent and caller that a panel uses."""
    dashboard = (
        build.Dashboard(title)
        .uid(uid)
        .description(about)
        .tags([TAG])
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .links([_other_boards(), _runbook()])
        .build()
    )
    dashboard.panels = _placed(rows)
    asked = json.dumps([panel.targets for row in rows for panel in row.panels], cls=JSONEncoder)
    used = [name for name in _VARIABLES if f"${name}" in asked]
    dashboard.templating = model.DashboardDashboardTemplating(
        [_source_variable(), *(_variable(name) for name in used), _runbook_variable()]
    )
    return json.dumps(dashboard, cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _placed(rows: Sequence[Row]) -> list[model.Panel | model.RowPanel]:
    """Each row from left to right; a panel that does not fit any more begins a new line."""
    placed: list[model.Panel | model.RowPanel] = []
    y = 0
    for row in rows:
        at = model.GridPos(w=COLUMNS, h=1, x=0, y=y)
        placed.append(model.RowPanel(title=row.title, id_val=row.number, grid_pos=at))
        x, y, tallest = 0, y + 1, 0
        for panel in row.panels:
            size = panel.grid_pos or model.GridPos()
            if x + size.w > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            panel.grid_pos = model.GridPos(w=size.w, h=size.h, x=x, y=y)
            placed.append(panel)
            x, tallest = x + size.w, max(tallest, size.h)
        y += tallest
    return placed


def _source_variable() -> model.VariableModel:
    return (
        build.DatasourceVariable("datasource")
        .label("Data source")
        .type("prometheus")
        .current(model.VariableOption(selected=True, text="Longhaul", value=SOURCE_UID))
        .build()
    )


def _variable(name: str) -> model.VariableModel:
    query = _VARIABLES[name]
    return (
        build.QueryVariable(name)
        .label(name.capitalize())
        .datasource(SOURCE)
        .query({"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")  # also what has the label empty, and names that come later
        .current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
        .build()
    )


def _other_boards() -> build.DashboardLink:
    return (
        build.DashboardLink("Longhaul")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .include_vars(True)
        .keep_time(True)
    )


def _runbook() -> build.DashboardLink:
    return (
        build.DashboardLink("Runbook")
        .type(model.DashboardLinkType.LINK)
        .icon("doc")
        .url("${runbook:raw}")
        .tooltip("What to do for each alert")
        .target_blank(True)
    )


def _runbook_variable() -> model.VariableModel:
    """Where docs/runbook.md is read: every deployment keeps it elsewhere."""
    return (
        build.TextBoxVariable("runbook")
        .label("Runbook")
        .default_value(RUNBOOK)
        .current(model.VariableOption(selected=True, text=RUNBOOK, value=RUNBOOK))
        .build()
    )
