"""Alertmanager takes what ships, sends each severity where it belongs, and no alert is kept quiet by a wrong name."""

import re
from pathlib import Path

import pytest

from tests.prometheus import shipped

RECEIVERS = sorted((shipped.ALERTMANAGER / "receivers").glob("*.yml"))
CONFIGURATION = shipped.ALERTMANAGER / "alertmanager.yml"


def with_receivers(path: Path, folder: Path) -> Path:
    """alertmanager.yml with the receivers of `path`, as its first comment says to do it, in `folder`."""
    text = CONFIGURATION.read_text(encoding="utf-8")
    head, found, _ = text.partition("\nreceivers:\n")
    assert found
    templates = folder / "templates"
    templates.mkdir()
    for template in (shipped.ALERTMANAGER / "templates").iterdir():
        (templates / template.name).write_bytes(template.read_bytes())
    composed = folder / "alertmanager.yml"
    composed.write_text(head + "\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    return composed


def test_alertmanager_takes_the_shipped_file():
    said = shipped.run("amtool", "check-config", CONFIGURATION)
    assert "2 receivers" in said
    assert "1 templates" in said


@pytest.mark.parametrize("path", RECEIVERS, ids=lambda path: path.stem)
def test_alertmanager_takes_each_receiver(path, tmp_path):
    shipped.run("amtool", "check-config", with_receivers(path, tmp_path))


def test_there_is_a_receiver_for_each_way_that_is_promised():
    assert {path.stem for path in RECEIVERS} == {"slack", "email", "pagerduty", "webhook", "dingtalk", "feishu"}


@pytest.mark.parametrize("path", RECEIVERS, ids=lambda path: path.stem)
def test_a_receivers_file_has_both_receivers_tells_the_end_and_holds_no_secret(path):
    receivers = {one["name"]: one for one in shipped.read(path)["receivers"]}
    assert set(receivers) == {"page", "ticket"}
    for receiver in receivers.values():
        for configurations in (value for key, value in receiver.items() if key.endswith("_configs")):
            assert all(one["send_resolved"] for one in configurations)
    for line in path.read_text(encoding="utf-8").splitlines():
        if found := re.match(r"\s*(?:- )?(\w*(?:secret|password|token|key|api_url)\w*):\s*(.+)", line):
            assert found[1].endswith("_file"), line
            assert found[2].startswith("/run/secrets/"), line


@pytest.mark.parametrize(("severity", "receiver"), [("page", "page"), ("ticket", "ticket"), ("unheard-of", "ticket")])
def test_each_severity_goes_to_its_receiver(severity, receiver):
    arguments = ("config", "routes", "test", f"--config.file={CONFIGURATION}", f"--verify.receivers={receiver}")
    shipped.run("amtool", *arguments, "alertname=NoWorker", f"severity={severity}")


def names_of(matcher: str) -> list[str]:
    """Of `alertname="A"` or `alertname=~"A|B"`."""
    found = re.fullmatch(r'alertname=~?"([\w|]+)"', matcher)
    assert found, matcher
    return found[1].split("|")


def test_every_name_of_an_inhibition_is_an_alert_and_every_equal_label_one_that_both_have():
    alerts = shipped.alerts()
    labels: dict[str, set[str]] = {}
    for *_, test in shipped.alert_tests():
        for alert in test["exp_alerts"]:
            labels.setdefault(test["alertname"], set()).update(alert["exp_labels"])
    for rule in shipped.read(CONFIGURATION)["inhibit_rules"]:
        names = [name for matcher in (*rule["source_matchers"], *rule["target_matchers"]) for name in names_of(matcher)]
        assert set(names) <= set(alerts), rule
        for label in rule.get("equal", []):
            for name in names:
                # an alert without the label would be quiet with every source that lacks it too
                assert label in labels[name], f"{name} has no label {label}"


def test_nothing_is_kept_quiet_by_a_ticket_that_would_wake_somebody():
    """Save where the ticket is the page's own cause, a page is quiet only while another page is heard."""
    severity = {name: rule["labels"]["severity"] for name, rule in shipped.alerts().items()}
    for rule in shipped.read(CONFIGURATION)["inhibit_rules"]:
        (source,) = names_of(rule["source_matchers"][0])
        targets = names_of(rule["target_matchers"][0])
        if severity[source] == "ticket":
            assert {severity[target] for target in targets} == {"ticket"}, source
