"""prometheus.yml: Prometheus takes it, both ways of running differ in addresses only, and rules name its jobs."""

import re

import pytest

from core_config import ROOT, Settings
from tests.prometheus import shipped

CONFIGURATIONS = ("prometheus.yml", "prometheus.compose.yml")
JOBS = ["gateway", "worker", "redis", "node", "alertmanager", "prometheus"]
ADDRESSES = {"file_sd_configs", "dns_sd_configs", "static_configs"}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_prometheus_takes_it(name):
    said = shipped.run("promtool", "check", "config", shipped.PROMETHEUS / name)
    assert f"{len(shipped.rule_files())} rule files found" in said


def test_both_ways_of_running_differ_in_addresses_only():
    def without_addresses(name):
        content = shipped.read(shipped.PROMETHEUS / name)
        content["alerting"] = None
        content["scrape_configs"] = [
            {key: value for key, value in job.items() if key not in ADDRESSES} for job in content["scrape_configs"]
        ]
        return content

    assert without_addresses("prometheus.yml") == without_addresses("prometheus.compose.yml")


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_jobs_are_those_that_rules_ask_for(name):
    assert [job["job_name"] for job in shipped.read(shipped.PROMETHEUS / name)["scrape_configs"]] == JOBS
    for rule in shipped.rules():
        for matched in re.findall(r'job(?:=|!=|=~|!~)"([\w|]+)"', rule["expr"]):
            assert set(matched.split("|")) <= set(JOBS), rule


def test_targets_are_read_where_manage_py_writes_them():
    jobs = {job["job_name"]: job for job in shipped.read(shipped.PROMETHEUS / "prometheus.yml")["scrape_configs"]}
    for job, file in (("gateway", "gateway.json"), ("worker", "workers.json")):
        (path,) = jobs[job]["file_sd_configs"][0]["files"]
        assert (shipped.PROMETHEUS / path).resolve() == Settings().var_dir / "prometheus" / file
    assert Settings().var_dir == ROOT / "var"
