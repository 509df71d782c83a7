"""Reading tasks on the system as shipped: what a task did, and where its time went."""


def test_a_task_tells_its_steps_and_why_where_its_time_went(system):
    task = system.ask("What is 6 * 7, and what time is it?", user_id="reader", metadata={"order": "r-7"})
    kinds = [(step["kind"], step["name"], step["state"]) for step in task["steps"]]
    assert kinds[0] == kinds[-1] == ("model", "Simulator", "done")
    assert {("tool", "calculator", "done"), ("tool", "get_time", "done")} <= set(kinds)
    spent = [step["token_usage"]["total_tokens"] for step in task["steps"] if step["token_usage"]]
    assert sum(spent) == task["token_usage"]["total_tokens"]
    assert sum(step["cost_usd"] for step in task["steps"] if step["kind"] == "model") == task["cost_usd"]
    (calculator,) = [step for step in task["steps"] if step["name"] == "calculator"]
    assert calculator["result"] == "42"

    listed = system.http.get("/tasks", params={"metadata": "order=r-7"}).json()["tasks"]
    assert [one["task_id"] for one in listed] == [task["task_id"]]
    assert task["task_id"] in system.manage("tasks", "--user", "reader").stdout

    why = system.manage("why", task["task_id"])
    assert why.returncode == 0, why.stderr
    assert "success after" in why.stdout
    assert "2 model calls" in why.stdout
    assert "-> 42" in why.stdout
    assert "SIMULATED" in why.stdout


def test_why_tells_a_failing_task_s_attempts_apart(system):
    task = system.submit("[[status=400]] hello")
    ended = system.final(task)
    assert ended["status"] == "failed"
    why = system.manage("why", task).stdout
    assert "attempt 1 on worker-1" in why
    assert ended["error_code"] in why
    assert "FAILED" in why
