"""The rules: Prometheus takes them, every alert is shown to fire and not to fire, and each name in them exists."""

import re

import pytest

from monitoring.metrics import STORED
from tests.prometheus import shipped
from tests.prometheus.expressions import FOREIGN, OF_EVERY_TARGET, declared, used

SEVERITIES = {"page", "ticket"}


def recorded() -> dict[str, str]:
    return {rule["record"]: rule["expr"] for rule in shipped.rules() if "record" in rule}


def labels_of(metric: str) -> set[str]:
    """The labels that a series can have, of a recorded one: those by which it was summed, or else its parts' own."""
    if metric in recorded():
        parts = list(used(recorded()[metric]))
        return set().union(*(labels for _, labels in parts), *(labels_of(name) for name, _ in parts if name))
    return (declared() | FOREIGN)[metric]


def expressions() -> list[tuple[str, str]]:
    """Of rules, and those that their texts ask Prometheus with."""
    found = []
    for rule in shipped.rules():
        name = rule.get("alert") or rule["record"]
        found.append((name, rule["expr"]))
        for text in rule.get("annotations", {}).values():
            found += [(name, query) for query in re.findall(r'query "([^"]+)"', text)]
    return found


def test_prometheus_takes_the_rules():
    shipped.run("promtool", "check", "rules", *shipped.rule_files())


@pytest.mark.parametrize("path", shipped.cases(), ids=lambda path: path.stem)
def test_the_rules_say_what_their_cases_expect(path):
    shipped.run("promtool", "test", "rules", path)


def test_every_alert_has_a_case_that_fires_and_one_that_does_not():
    fires: set[str] = set()
    stays: set[str] = set()
    outcomes: dict[tuple[str, str, str], list[bool]] = {}
    for path, case, test in shipped.alert_tests():
        outcomes.setdefault((path.name, case["name"], test["alertname"]), []).append(bool(test["exp_alerts"]))
    for (*_, name), fired in outcomes.items():
        (fires if any(fired) else stays).add(name)
    everything = set(shipped.alerts())
    assert fires == everything
    # of a whole case: a moment before it fires is no case of its own
    assert stays == everything


def test_every_metric_and_label_of_a_rule_exists():
    known = declared() | FOREIGN
    for name, expression in expressions():
        parts = list(used(expression))
        named = {metric for metric, _ in parts if metric}
        assert named or expression.startswith("vector"), f"{name}: no metric was found in {expression}"
        unknown = named - set(known) - set(recorded())
        assert not unknown, f"{name} names {unknown}, which nothing declares"
        possible = set().union(*(labels_of(metric) for metric in named)) | OF_EVERY_TARGET | {"of"}
        for metric, labels in parts:
            strangers = labels - (labels_of(metric) | OF_EVERY_TARGET if metric else possible)
            assert not strangers, f"{name}: {metric or expression} has no label {strangers}"


def test_an_unknown_metric_or_label_is_seen():
    """The reader above would else let everything pass."""
    parts = list(
        used('sum by (le, modle) (rate(agent_x_total{a="by (b)", c=~"d"}[5m] offset 15m)) and on (e) max(f) > 1e3')
    )
    assert parts == [("", {"le", "modle"}), ("agent_x_total", {"a", "c"}), ("", {"e"}), ("f", set())]


def test_what_the_store_counts_is_never_summed_over_gateways():
    """Each gateway shows the same: a sum says twice as much with two."""
    stored = {metric.name for metric in STORED}
    for name, expression in expressions():
        for metric in {metric for metric, _ in used(expression)} & stored:
            inside = rf"(?:\w+_over_time|increase|rate)?\(*(?:[\d., ]*)\(*\s*{metric}\b"
            for found in re.finditer(rf"\bsum\s*(?:(?:by|without)\s*\([^)]*\))?\s*\(\s*{inside}", expression):
                raise AssertionError(f"{name} sums {metric}: {found[0]}")


def test_every_alert_is_complete():
    for name, rule in shipped.alerts().items():
        assert set(rule["labels"]) == {"severity"}, name
        assert rule["labels"]["severity"] in SEVERITIES, name
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}, name
        summary = rule["annotations"]["summary"]
        assert summary.strip().endswith("."), f"{name}: {summary}"
        assert ". " not in re.sub(r"\{\{.*?\}\}", "", summary), f"{name}: a summary is one sentence"
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"


def test_a_summary_names_the_culprit_where_there_is_one():
    """An alert for each of several must say for which: whatever label tells them apart stands in the sentence."""
    said_elsewhere = {"severity", "job", "device", "fstype", "lane", "error_code"}
    for *_, test in shipped.alert_tests():
        for alert in test["exp_alerts"]:
            summary = alert["exp_annotations"]["summary"]
            for label in set(alert["exp_labels"]) - said_elsewhere:
                assert alert["exp_labels"][label] in summary, f"{test['alertname']}: {label} is not in {summary!r}"
