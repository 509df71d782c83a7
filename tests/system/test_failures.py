"""A model that fails in every way, through the whole system: a final status, a code, and no secret in what is read."""

import re

import pytest

LEAKS = re.compile(r"sk-|Bearer|Traceback|File \"|/work/|/tmp/|site-packages|\.py\b|127\.0\.0\.1")


@pytest.mark.parametrize(
    ("directive", "code"),
    [
        ("[[status=401]]", "provider_auth"),
        ("[[status=404]]", "model_unavailable"),
        ("[[error=deepseek_no_balance]]", "provider_no_balance"),
        ("[[error=dashscope_arrearage]]", "provider_no_balance"),
        ("[[error=openai_insufficient_quota]]", "provider_no_balance"),
        ("[[error=deepseek_content_risk]]", "content_blocked"),
        ("[[error=dashscope_data_inspection]]", "content_blocked"),
        ("[[error=deepseek_unknown_model]]", "model_unavailable"),
        ("[[error=openai_unknown_model]]", "model_unavailable"),
        ("[[loop]]", "max_iterations"),
        ("[[cut]]", "answer_truncated"),
    ],
)
def test_what_will_not_pass_fails_at_once(system, directive, code):
    task = system.ask(f"{directive} Compute 1 + 1")
    assert (task["status"], task["error_code"], task["attempt"]) == ("failed", code, 1)
    assert task["error"]
    assert not LEAKS.search(task["error"])


@pytest.mark.parametrize(
    ("directive", "code"),
    [
        ("[[status=429 retry_after=0]]", "provider_rate_limited"),
        ("[[status=500]]", "provider_unavailable"),
        ("[[broken_json]]", "provider_bad_response"),
        ("[[half]]", "provider_bad_response"),
        ("[[empty]]", "empty_answer"),
    ],
)
def test_what_may_pass_is_tried_again_and_then_fails(system, directive, code):
    task = system.ask(f"{directive} Compute 1 + 1")
    assert (task["status"], task["error_code"], task["attempt"]) == ("failed", code, 4)
    assert not LEAKS.search(task["error"])


def test_what_passes_succeeds_on_the_next_attempt(system):
    task = system.ask("[[status=500 times=1]] Compute 2 * 21")
    assert (task["status"], task["attempt"], task["error"], task["error_code"]) == ("success", 2, None, None)
    assert "42" in task["result"]


def test_chat_says_the_same_by_its_status(system):
    refused = system.http.post("/chat", json={"message": "[[status=401]] hello"})
    assert refused.status_code == 502
    assert refused.json()["detail"]
    assert refused.json()["task_id"]


def test_a_running_task_is_cancelled_within_a_heartbeat(system):
    task_id = system.submit("[[delay=30]] Compute 1 + 1")
    while system.http.get(f"/task/{task_id}").json()["status"] != "running":
        pass
    assert system.http.post(f"/task/{task_id}/cancel").status_code == 200
    task = system.final(task_id, within_s=5)
    assert task["status"] == "cancelled"
    assert system.http.post(f"/task/{task_id}/cancel").status_code == 200  # a repeat answers as the first did
