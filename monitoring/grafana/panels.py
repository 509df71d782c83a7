"""The kinds of panels, a function each. All take what is different from panel to panel and nothing else."""

import string
from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from .promql import quantile

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, YELLOW, RED = "green", "yellow", "red"

Limits = Sequence[tuple[float, str]]
"""From which value on which colour; below the first it is green."""


@dataclass(frozen=True, slots=True)
class Query:
    expression: str
    legend: str = ""


def lines(
    number: int,
    title: str,
    unit: str,
    says: str,
    *queries: Query,
    limits: Limits = (),
    width: int = 8,
    stacked: bool = False,
    top: float | None = None,
    see: Sequence[str] = (),
) -> model.Panel:
    """Values over time. `limits` are drawn as dashed lines, `top` is the end of the axis (1 for a share)."""
    panel = (
        timeseries.Panel()
        .unit(unit)
        .min(0)
        .fill_opacity(30 if stacked else 8)
        .line_width(1)
        .show_points(options.VisibilityMode.AUTO)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(options.LegendDisplayMode.TABLE)
            .placement(options.LegendPlacement.BOTTOM)
            .calcs(["lastNotNull", "max"])
            .sort_by("Max")
            .sort_desc(True)
        )
        .tooltip(common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI).sort(options.SortOrder.DESCENDING))
    )
    if top is not None:
        panel = panel.max(top)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL))
    if limits:
        panel = panel.thresholds(_thresholds(limits)).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(options.GraphThresholdsStyleMode.DASHED)
        )
    return _finished(panel.build(), number, title, _described(says, see), queries, width, height=8)


def figure(
    number: int,
    title: str,
    unit: str,
    says: str,
    expression: str,
    *,
    limits: Limits = (),
    width: int = 3,
    below: str = GREEN,
    nothing: str = "no data",
    see: Sequence[str] = (),
) -> model.Panel:
    """One number of now, on the colour of its limit. `nothing` is shown when the expression has no value."""
    panel = (
        stat.Panel()
        .unit(unit)
        .no_value(nothing)
        .thresholds(_thresholds(limits, below))
        .color_mode(options.BigValueColorMode.BACKGROUND if limits else options.BigValueColorMode.NONE)
        .graph_mode(options.BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    return _finished(panel.build(), number, title, _described(says, see), [Query(expression)], width, height=4)


def states(
    number: int,
    title: str,
    says: str,
    *queries: Query,
    zero: tuple[str, str],
    one: tuple[str, str],
    width: int = 8,
    see: Sequence[str] = (),
) -> model.Panel:
    """What is 0 or 1, over time; `zero` and `one` are the word and the colour of each."""
    words = {
        value: model.ValueMappingResult(text=text, color=colour, index=index)
        for index, (value, (text, colour)) in enumerate((("0", zero), ("1", one)))
    }
    panel = (
        statetimeline.Panel()
        .mappings([model.ValueMap(options=words)])
        .show_value(options.VisibilityMode.NEVER)
        .merge_values(True)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(options.LegendDisplayMode.LIST)
            .placement(options.LegendPlacement.BOTTOM)
        )
        .no_value("no data")
    )
    return _finished(panel.build(), number, title, _described(says, see), queries, width, height=8)


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    expression: str
    unit: str = "short"
    limits: Limits = ()


def side_by_side(
    number: int, title: str, says: str, key: str, *columns: Column, width: int = 24, see: Sequence[str] = ()
) -> model.Panel:
    """A table of now, with a row for each value of the label `key`."""
    letters = string.ascii_uppercase
    names = {f"Value #{letter}": column.title for letter, column in zip(letters, columns, strict=False)}
    places = {name: place for place, name in enumerate([key, *names])}
    panel = (
        table.Panel()
        .transformations(
            [
                model.DataTransformerConfig(id_val="merge", options={}),
                model.DataTransformerConfig(
                    id_val="organize",
                    options={
                        "excludeByName": {"Time": True},
                        "indexByName": places,
                        "renameByName": names,
                    },
                ),
            ]
        )
        .no_value("-")
    )
    for column in columns:
        properties = [model.DynamicConfigValue(id_val="unit", value=column.unit)]
        if column.limits:
            properties += [
                model.DynamicConfigValue(id_val="thresholds", value=_thresholds(column.limits).build().to_json()),
                model.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}),
            ]
        panel = panel.override_by_name(column.title, properties)
    built = panel.build()
    return _finished(
        built,
        number,
        title,
        _described(says, see),
        [Query(one.expression) for one in columns],
        width,
        height=8,
        of_now=True,
    )


def percentiles(shares: Sequence[float], histogram: str, *where: str, by: str = "") -> list[Query]:
    """A line for each of `shares` (0.99: p99), and for each value of the label `by`."""
    legend = "p{:g} {{{{{}}}}}" if by else "p{:g}"
    return [Query(quantile(q, histogram, *where, by=by), legend.format(q * 100, by)) for q in shares]


def _finished(
    panel: model.Panel,
    number: int,
    title: str,
    says: str,
    queries: Sequence[Query],
    width: int,
    height: int,
    of_now: bool = False,
) -> model.Panel:
    panel.id_val, panel.title, panel.description, panel.datasource = number, title, says, SOURCE
    panel.grid_pos = model.GridPos(w=width, h=height)
    panel.targets = []
    for letter, query in zip(string.ascii_uppercase, queries, strict=False):
        target = prometheus.Dataquery().ref_id(letter).expr(query.expression).datasource(SOURCE)
        if of_now:
            target = target.instant().format(PromQueryFormat.TABLE)
        else:
            target = target.range().legend_format(query.legend or title)
        panel.targets.append(target.build())
    return panel


def _described(says: str, see: Sequence[str]) -> str:
    """With a link to the runbook's section of each alert in `see`."""
    links = [f"[{alert}](${{runbook}}#{alert.lower()})" for alert in see]
    return f"{says}\n\nRunbook: {', '.join(links)}" if links else says


def _thresholds(limits: Limits, below: str = GREEN) -> build.ThresholdsConfig:
    steps = [model.Threshold(color=below), *(model.Threshold(value, colour) for value, colour in limits)]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)
