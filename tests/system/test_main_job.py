"""The README's four lines and what a user tries next, on the system as shipped."""

import re

import pytest


def test_a_task_goes_all_the_way(system):
    submitted = system.http.post("/task", json={"message": "Compute (123 * 456 + 789) / 3"})
    assert submitted.status_code == 200
    assert set(submitted.json()) == {"task_id", "status", "created_at"}
    assert submitted.json()["status"] == "pending"
    task = system.http.get(f"/task/{submitted.json()['task_id']}", params={"wait": 20}).json()
    assert (task["status"], task["error"], task["attempt"]) == ("success", None, 1)
    assert "18959" in task["result"]
    assert task["simulated"] is True
    assert task["token_usage"]["total_tokens"] > 0
    assert task["cost_usd"] == 0.0


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ("Compute 42 * 1337 + 100", "56254"),
        ("计算 42 * 1337 + 100 的结果", "56254"),
        ("现在几点了?", r"\d\d:\d\d"),
        ("搜索一下 Redis", "search"),
        ("What is 6 * 7, and what time is it?", r"42.*\d\d:\d\d"),
    ],
)
def test_chat_answers_on_the_same_path(system, message, wanted):
    answer = system.http.post("/chat", json={"message": message})
    assert answer.status_code == 200, answer.text
    assert {"output", "duration_ms", "session_id", "task_id", "token_usage"} <= set(answer.json())
    assert re.search(wanted, answer.json()["output"], re.DOTALL)


def test_a_session_remembers_and_a_task_without_one_does_not(system):
    first = {"message": "My favourite number is 7141.", "session_id": "numbers", "user_id": "u"}
    assert system.http.post("/chat", json=first).status_code == 200
    again = {"message": "What did I say?", "session_id": "numbers", "user_id": "u"}
    assert "7141" in system.http.post("/chat", json=again).json()["output"]
    for other in ({"session_id": "numbers", "user_id": "v"}, {"session_id": "default", "user_id": "u"}, {}):
        answer = system.http.post("/chat", json={"message": "What did I say?", **other}).json()
        assert "7141" not in answer["output"]


def test_the_bill_outlives_nothing_and_is_kept_by_user(system):
    task = system.ask("Compute 1 + 1", user_id="billed")
    printed = system.manage("cost", "--by", "user", "--csv").stdout
    row = next(line for line in printed.splitlines() if line.startswith("billed"))
    assert str(task["token_usage"]["total_tokens"]) in row.split(",")


def test_ask_prints_the_answer_and_only_it_on_stdout(system):
    asked = system.manage("ask", "Compute 20 + 22")
    assert asked.returncode == 0, asked.stderr
    assert "42" in asked.stdout
    assert "SIMULATED" in asked.stderr


def test_smoke_and_status_say_that_all_is_well(system):
    smoke = system.manage("smoke", "--url", system.url)
    assert smoke.returncode == 0, smoke.stdout
    status = system.status()
    assert (status["ready"], status["model"], status["simulated"]) == (True, "Simulator", True)
    assert {process["name"] for process in status["processes"]} >= {"redis", "simulator", "gateway-1", "worker-1"}


def test_starting_twice_starts_nothing(system):
    before = system.status()["processes"]
    again = system.manage("start")
    assert again.returncode == 0
    assert "running already" in again.stdout
    assert [process["pid"] for process in system.status()["processes"]] == [process["pid"] for process in before]


def test_the_three_fixed_metrics_count(system):
    def enqueued() -> float:
        page = system.http.get("/metrics").text
        assert "agent_request_duration_seconds_bucket" in page
        assert 'agent_requests_total{endpoint="/task",kind="submit",status="200"}' in page
        [count] = re.findall(r"^agent_tasks_enqueued_total (\S+)", page, re.MULTILINE)
        return float(count)

    system.ask("hello")
    before = enqueued()
    for _ in range(3):
        system.ask("hello")
    assert enqueued() == before + 3
