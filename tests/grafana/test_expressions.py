"""Every expression against what the pages of Longhaul declare. Whether it has data is test_live.py's."""

import re

import pytest

from monitoring.metrics import STORED

from .boards import IDS, TARGETS, Target
from .promql import ADDED, EXPORTERS, declared, reductions, selectors

DECLARED = declared()
STORES = {one.name for one in STORED}
OF_ALL_HOSTS = {"agent_event_loop_lag_seconds", "agent_build_info"}
"""Gauges of processes that are not summed."""


PROMETHEUS = {"up": ADDED, "ALERTS": {"alertname", "alertstate"}}
"""Series of its own."""


def labels_of(metric: str) -> set[str] | None:
    """None: an exporter's, which has labels of its own."""
    if metric in PROMETHEUS:
        return PROMETHEUS[metric]
    return None if metric.startswith(EXPORTERS) else DECLARED[metric] | ADDED


@pytest.mark.parametrize("target", TARGETS, ids=IDS)
class TestTarget:
    def test_metrics_and_labels_are_declared(self, target: Target) -> None:
        found = selectors(target.expression)
        assert found
        for selector in found:
            labels = labels_of(selector.metric)
            assert labels is None or selector.labels <= labels, f"{selector} has {labels}"
        for reduced in reductions(target.expression):
            for selector in selectors(reduced.inside):
                labels = labels_of(selector.metric)
                assert labels is None or set(reduced.by) <= labels, f"{selector.metric} by {reduced.by}"

    def test_what_gateways_show_alike_is_counted_once(self, target: Target) -> None:
        """And what processes count is summed, so that no process hides another."""
        for selector in selectors(target.expression):
            around = [one for one in reductions(target.expression) if one.start < selector.place < one.end]
            if selector.metric in STORES:
                assert around[-1].operator in {"max", "min"}, target
            elif selector.metric in DECLARED and selector.metric not in OF_ALL_HOSTS:
                assert around[-1].operator == "sum", target

    def test_a_quantile_keeps_le(self, target: Target) -> None:
        for part in re.findall(r"histogram_quantile\([\d.]+, (sum by \([^)]*\))", target.expression):
            assert part.startswith("sum by (le")
        assert target.expression.count("histogram_quantile") == len(
            re.findall(r"histogram_quantile\([\d.]+, sum by \(le[,)]", target.expression)
        )

    def test_the_legend_names_labels_that_are_left(self, target: Target) -> None:
        named = set(re.findall(r"{{(\w+)}}", target.legend))
        outer = next(iter(reductions(target.expression)), None)
        if outer is not None:
            assert named <= set(outer.by), target
        # two series that cannot be told apart
        if outer is not None and target.legend:
            assert named == {label for label in outer.by if label != "le"}, target


def test_every_metric_has_a_panel() -> None:
    """What nobody looks at need not be counted."""
    asked = {selector.metric for target in TARGETS for selector in selectors(target.expression)}
    seen = {re.sub(r"_(bucket|sum|count)$", "", metric) for metric in asked}
    assert {re.sub(r"_(bucket|sum|count)$", "", metric) for metric in DECLARED} - seen == set()
