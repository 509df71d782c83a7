"""docs/metrics.md names every metric that is declared, with its labels and kind, and none that is not."""

import re

from prometheus_client import Counter, Gauge, Histogram

from core_config import ROOT
from monitoring import metrics

PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(agent_\w+)` \| (.*?) \| (\w+) \| (.+) \|$", re.MULTILINE)
KIND_OF_PROCESS = {
    "A gateway's": metrics.OF_GATEWAYS,
    "A worker's": metrics.OF_WORKERS,
    "Both": metrics.OF_BOTH,
}


def shown(one: metrics.Observed) -> tuple[str, tuple[str, ...], str]:
    (described,) = one.describe()
    name = described.name + ("_total" if described.type == "counter" else "")
    return name, tuple(one._labelnames), described.type


def rows(section: str) -> list[tuple[str, tuple[str, ...], str]]:
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return [(name, tuple(re.findall(r"`(\w+)`", labels)), kind) for name, labels, kind, _ in ROW.findall(text)]


def test_the_page_lists_what_each_kind_of_process_observes():
    for section, declared in KIND_OF_PROCESS.items():
        assert rows(section) == [shown(one) for one in declared]


def test_the_page_lists_what_the_store_counts():
    assert rows("The store's") == [(one.name, one.labels, one.kind) for one in metrics.STORED]


def test_everything_that_is_declared_is_shown_by_one_kind_of_process_or_both():
    declared = [one for one in vars(metrics).values() if isinstance(one, Counter | Gauge | Histogram)]
    listed = [one for group in KIND_OF_PROCESS.values() for one in group]
    assert sorted(map(shown, declared)) == sorted(map(shown, listed))


def test_gauges_of_the_dead_go_because_all_are_of_living_processes():
    gauges = [one for one in vars(metrics).values() if isinstance(one, Gauge)]
    assert {one._multiprocess_mode for one in gauges} <= {"livesum", "livemax"}


def test_queries_on_the_page_name_metrics_and_labels_that_exist():
    labels = {name: set(of) for section in (*KIND_OF_PROCESS, "The store's") for name, of, _ in rows(section)}
    queries = re.findall(r"```promql\n(.*?)```", PAGE, re.DOTALL)
    assert len(queries) >= 5
    for query in queries:
        for name, selected in re.findall(r"(agent_\w+?)(?:_bucket)?\b(?:\{(.*?)\})?", query):
            assert set(re.findall(r"(\w+)(?:=|!)", selected)) <= labels[name], query
