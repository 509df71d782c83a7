"""A running system, a real Prometheus and Alertmanager: what they count, and an outage that reaches a webhook."""

import os
import signal

import pytest

from longhaul_testing.ports import free_port
from tests.prometheus import shipped, watchers
from tests.prometheus.watchers import until
from tests.system.conftest import System

GOOD, REFUSED, RETRIED, POLLS = 24, 9, 2, 5


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    for name in ("prometheus", "prometheus-alertmanager"):
        shipped.program(name)  # skip before a system is started for it
    system = System(
        tmp_path_factory.mktemp("watched"),
        GATEWAY_PROCESSES="2",
        WORKER_PROCESSES="2",
        WORKER_METRICS_PORT=str(free_port()),
    )
    system.start()
    yield system
    system.end()


@pytest.fixture(scope="module")
def webhook():
    with watchers.Webhook() as server:
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def prometheus(system, webhook, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prometheus")
    targets = system.folder / "var" / "prometheus"
    with (
        watchers.alertmanager(folder, webhook) as address,
        watchers.prometheus(folder, targets, address) as prometheus,
    ):
        until(lambda: prometheus.value('sum(up{job=~"gateway|worker"})') == 2, "both pages are read")
        yield prometheus


@pytest.fixture(scope="module")
def load(system, prometheus):
    """Good tasks with a tool each, some whose provider refuses, some that are retried, polls and a chat."""
    refuse = "[[error=deepseek_no_balance]] hello"
    first = [system.ask("Compute 6 * 7")["task_id"], system.ask(refuse)["task_id"]]
    # Prometheus has just begun: what it has not seen at the least once it cannot see growing
    until(
        lambda: prometheus.value("count(max by (status) (agent_tasks_finished_total))") == 2, "the first two are seen"
    )
    good = [first[0], *(system.submit(f"Compute {number} * 7") for number in range(GOOD - 1))]
    refused = [first[1], *(system.submit(refuse) for _ in range(REFUSED - 1))]
    retried = [system.submit("[[status=503 times=1]] hello") for _ in range(RETRIED)]
    for task_id in (*good, *refused, *retried):
        system.final(task_id)
    for _ in range(POLLS):
        assert system.http.get(f"/task/{good[0]}").status_code == 200
    assert system.http.post("/chat", json={"message": "hello"}).status_code == 200


def test_what_prometheus_reads_is_what_was_done(prometheus, load):
    """Exactly, with two gateways and two workers: what the store counts is on both pages and counts once."""
    finished = "max by (caller, agent, model, status, error_code) (agent_tasks_finished_total)"
    submitted = GOOD + REFUSED + RETRIED + 1
    for expression, wanted in {
        'sum(agent_requests_total{kind="submit", status="200"})': GOOD + REFUSED + RETRIED,
        'sum(agent_requests_total{kind="poll", status="200"})': POLLS,
        'sum(agent_requests_total{kind="chat", status="200"})': 1,
        "sum(max by (caller, agent, model, lane) (agent_tasks_submitted_total))": submitted,
        f"sum({finished})": submitted,
        f'sum({finished} and on (error_code) label_replace(vector(1), "error_code", "provider_no_balance", "", ""))': (
            REFUSED
        ),
        "sum(max by (agent, model, error_code) (agent_retries_total))": RETRIED,
        'sum(agent_tool_calls_total{tool="calculator", outcome="ok"})': GOOD,
        'sum(agent_model_calls_total{error_code="provider_no_balance"})': REFUSED,
        'max(agent_workers{kind="ordinary"})': 2,
    }.items():
        until(lambda e=expression, w=wanted: prometheus.value(e) == w, f"{expression} is {wanted}")


def test_every_rule_is_computed_without_an_error(prometheus, load):
    """On real series: two gateways that show the same must not make one side of an operator ambiguous."""
    until(lambda: all(rule["health"] != "unknown" for rule in prometheus.rules()), "every rule was computed")
    until(
        lambda: prometheus.value('agent:loop_containment:ratio1h{agent="default"}') == 1, "recorded rules have the load"
    )
    rules = prometheus.rules()
    assert len(rules) == len(shipped.rules())
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}


def test_every_recorded_rule_has_data(prometheus, load):
    for rule in shipped.rules():
        if name := rule.get("record"):
            until(lambda n=name: prometheus.query(n), f"{name} has data")


def test_tasks_that_fail_make_a_ticket_and_wake_nobody(prometheus, webhook, load):
    tickets = until(lambda: webhook.alerts("/ticket", "TasksFail", "firing"), "a ticket for the tasks that fail")
    assert tickets[0]["labels"]["model"] == "Simulator"
    assert "of the tasks of default on Simulator fail." in tickets[0]["annotations"]["summary"]
    assert not webhook.alerts("/page", "MostTasksFail", "firing")


def test_an_outage_reaches_the_webhook_and_its_end_too(system, prometheus, webhook, load):
    pids = [system.pid(name) for name in ("worker-1", "worker-2")]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        paged = until(lambda: webhook.alerts("/page", "NoWorker", "firing"), "a page for the missing workers")
        assert paged[0]["annotations"]["summary"] == "No worker is alive, so tasks are accepted and none runs."
        assert paged[0]["annotations"]["runbook_url"] == "docs/runbook.md#noworker"
        assert paged[0]["labels"]["severity"] == "page"
        assert not webhook.alerts("/page", "NoWorker", "resolved")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    until(lambda: webhook.alerts("/page", "NoWorker", "resolved"), "the end of the outage")
    assert system.ask("Compute 6 * 7")["status"] == "success"
