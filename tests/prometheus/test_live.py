"""A running system, a real Prometheus and Alertmanager: what they count, and an outage that reaches a webhook."""

import os
import signal

import pytest

from tests.prometheus import shipped
from tests.prometheus.watchers import until

GOOD, REFUSED, RETRIED, POLLS = 24, 9, 2, 5
# A short load buries no task, and blocks none behind another of its session
WITHOUT_DATA = {"agent_model:agent_dead_letters:increase1h"}

FINISHED = "max by (caller, agent, model, status, error_code) (agent_tasks_finished_total)"
COUNTS = {
    'sum(agent_requests_total{kind="submit", status="200"})': GOOD + REFUSED + RETRIED,
    'sum(agent_requests_total{kind="poll", status="200"})': POLLS,
    'sum(agent_requests_total{kind="chat", status="200"})': 1,
    "sum(max by (caller, agent, model, lane) (agent_tasks_submitted_total))": GOOD + REFUSED + RETRIED + 1,
    f"sum({FINISHED})": GOOD + REFUSED + RETRIED + 1,
    'sum(max by (caller, agent, model) (agent_tasks_finished_total{error_code="provider_no_balance"}))': REFUSED,
    "sum(max by (agent, model, error_code) (agent_retries_total))": RETRIED,
    'sum(agent_tool_calls_total{tool="calculator", outcome="ok"})': GOOD,
    'sum(agent_model_calls_total{error_code="provider_no_balance"})': REFUSED,
}


@pytest.fixture(scope="module")
def before(prometheus):
    return {expression: prometheus.value(expression) or 0 for expression in COUNTS}


@pytest.fixture(scope="module")
def load(watched, prometheus, before):
    """Good tasks with a tool each, some whose provider refuses, some that are retried, polls and a chat."""
    refuse = "[[error=deepseek_no_balance]] hello"
    first = [watched.submit("Compute 6 * 7"), watched.submit(refuse)]
    for task_id in first:
        watched.final(task_id)
    # Prometheus has just begun: what it has not seen at the least once it cannot see growing
    until(lambda: prometheus.value(f"count(count by (status) ({FINISHED}))") == 2, "the first two are seen")
    good = [watched.submit(f"Compute {number} * 7") for number in range(GOOD - 1)]
    refused = [watched.submit(refuse) for _ in range(REFUSED - 1)]
    retried = [watched.submit(f"[[status=503 times=1]] hello {number}") for number in range(RETRIED)]
    for task_id in (*good, *refused, *retried):
        watched.final(task_id)
    for _ in range(POLLS):
        assert watched.http.get(f"/task/{good[0]}").status_code == 200
    assert watched.http.post("/chat", json={"message": "hello"}).status_code == 200


@pytest.mark.parametrize("expression", COUNTS)
def test_what_prometheus_reads_is_what_was_done(prometheus, before, load, expression):
    """Exactly, with two gateways and two workers."""
    wanted = before[expression] + COUNTS[expression]
    until(lambda: prometheus.value(expression) == wanted, f"{expression} is {wanted}")


def test_every_rule_is_computed_without_an_error(prometheus, load):
    """On real series: no side of an operator may be ambiguous."""
    until(lambda: all(rule["health"] != "unknown" for rule in prometheus.rules()), "every rule was computed")
    rules = prometheus.rules()
    assert len(rules) == len(shipped.rules())
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}


@pytest.mark.parametrize(
    "name", [rule["record"] for rule in shipped.rules() if "record" in rule and rule["record"] not in WITHOUT_DATA]
)
def test_what_is_recorded_has_data(prometheus, load, name):
    until(lambda: prometheus.query(name), f"{name} has data")


def test_tasks_that_fail_make_a_ticket_and_wake_nobody(prometheus, webhook, load):
    tickets = until(lambda: webhook.alerts("/ticket", "TasksFail", "firing"), "a ticket for the tasks that fail")
    assert tickets[0]["labels"]["model"] == "Simulator"
    assert "of the tasks of default on Simulator fail." in tickets[0]["annotations"]["summary"]
    assert not webhook.alerts("/page", "MostTasksFail", "firing")


def test_an_outage_reaches_the_webhook_and_its_end_too(watched, prometheus, webhook, load):
    until(lambda: prometheus.value('max(agent_workers{kind="ordinary"})') == 2, "both workers are known")
    pids = [watched.pid(name) for name in ("worker-1", "worker-2")]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        paged = until(lambda: webhook.alerts("/page", "NoWorker", "firing"), "a page for the missing workers")
        assert paged[0]["annotations"]["summary"] == "No worker is alive, so tasks are accepted and none runs."
        assert paged[0]["annotations"]["runbook_url"] == "docs/runbook.md#noworker"
        assert paged[0]["labels"]["severity"] == "page"
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    until(lambda: prometheus.value('max(agent_workers{kind="ordinary"})') == 2, "both workers are back")
    until(lambda: webhook.last("/page", "NoWorker") == "resolved", "the end of the outage")
    assert watched.ask("Compute 6 * 7")["status"] == "success"
