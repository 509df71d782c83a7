"""The shipped examples as an application's own agents: real gateway, real worker, simulated model."""

import json

import pytest

from core_config import ROOT
from tests.system.conftest import System


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """The system with the shipped examples, and beside them one agent whose code cannot be imported."""
    system = System(tmp_path_factory.mktemp("examples"), AGENTS_FILE="examples/agents.toml", MAX_RETRIES="0")
    with (system.folder / "examples" / "agents.toml").open("a") as file:
        file.write('\n[agents.broken]\nrun = "no_such_module:build"\n')
    started = system.manage("start")
    assert started.returncode == 0, started.stdout + started.stderr
    yield system, started.stderr
    system.end()


@pytest.fixture
def examples(started):
    return started[0]


def steps(task):
    return [(step["kind"], step["name"], step["state"]) for step in task["steps"]]


def test_a_described_agent_uses_its_own_tools_and_its_middleware(examples):
    task = examples.ask("What is 6 * 7?", agent="shop")
    assert (task["status"], task["agent"]) == ("success", "shop"), task
    assert "42" in task["result"]
    model, tool = ("model", "Simulator", "done"), ("tool", "calculator", "done")
    assert steps(task) == [model, tool, model]


def test_ask_names_an_agent(examples):
    asked = examples.manage("ask", "--agent", "summary", "Tea is a drink.")
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)["parts"] == 1
    unknown = examples.manage("ask", "--agent", "sumary", "Tea is a drink.")
    assert unknown.returncode == 1
    assert "there is no agent 'sumary'; did you mean 'summary'?" in unknown.stderr


def test_a_described_agent_s_limits_are_its_own(examples):
    task = examples.ask("[[loop]] What is 6 * 7?", agent="shop")
    assert (task["status"], task["error_code"]) == ("failed", "max_iterations")
    kinds = [kind for kind, *_ in steps(task)]
    assert (kinds.count("model"), kinds.count("tool")) == (6, 4)


def test_a_graph_s_branches_run_at_once_and_are_joined(examples):
    task = examples.ask("[[delay=1]] Shall we drink more tea?", agent="research")
    assert task["status"] == "success", task
    assert steps(task) == [("model", "Simulator", "done")] * 4
    *branches, last = sorted(task["steps"], key=lambda step: step["started_at"])
    ends = [step["started_at"] for step in branches]
    assert max(ends) < last["started_at"]
    assert task["duration_ms"] < sum(step["duration_ms"] for step in task["steps"])
    assert task["token_usage"]["total_tokens"] == sum(step["token_usage"]["total_tokens"] for step in task["steps"])
    assert '"notes": {"for": "[simulated]' in task["result"]


def test_a_plain_function_tells_its_steps(examples):
    task = examples.ask("Tea is a drink. " * 300, agent="summary")
    assert task["status"] == "success", task
    assert steps(task) == [
        ("step", "split", "done"),
        ("step", "part 1 of 2", "done"),
        ("model", "Simulator", "done"),
        ("step", "part 2 of 2", "done"),
        ("model", "Simulator", "done"),
        ("model", "Simulator", "done"),
    ]
    assert task["steps"][0]["result"] == '{"characters": 4800, "parts": 2}'
    assert '"parts": 2, "read": 2' in task["result"]
    assert "part 1 of 2" in examples.manage("why", task["task_id"]).stdout


def test_a_plain_function_takes_an_input_object_and_its_dict_is_the_task_s_data(examples):
    submitted = examples.http.post("/task", json={"input": {"text": "Tea.", "sentences": 1}, "agent": "summary"})
    task = examples.final(submitted.json()["task_id"])
    assert task["status"] == "success", task
    assert task["result_json"] == {"summary": task["steps"][-1]["result"], "parts": 1, "read": 1}
    refused = examples.http.post("/task", json={"input": {"text": 3}, "agent": "summary"}).json()["task_id"]
    ended = examples.final(refused)
    assert (ended["status"], ended["error_code"]) == ("failed", "agent_refused")
    assert ended["error"] == "The input has to be {'text': '...', 'sentences': 3}."


def test_a_plain_function_knows_the_time_that_its_attempt_has_left(examples):
    task = examples.ask("Tea is a drink.", agent="summary", deadline_s=12)
    assert (task["error_code"], task["error"]) == ("agent_refused", "There was no time to read any of the text.")
    assert steps(task) == [("step", "split", "done")]


def test_where_one_agent_suffers_the_others_run(started):
    examples, warned = started
    place = f"AGENTS_FILE {examples.folder}/examples/agents.toml, line {lines() + 3}, agent 'broken', run"
    problem = f"{place}: there is no module 'no_such_module'. Put it beside the agents file, or install it."
    assert problem in warned
    listed = {agent["name"]: agent for agent in examples.http.get("/agents").json()["agents"]}
    assert {name: agent["available"] for name, agent in listed.items()} == {
        "default": True, "shop": True, "research": True, "summary": True, "broken": False,
    }  # fmt: skip
    assert listed["broken"]["problem"] == problem
    refused = examples.http.post("/task", json={"message": "hello", "agent": "broken"})
    assert (refused.status_code, refused.json()["code"]) == (503, "agent_unavailable")
    assert examples.ask("Compute 6 * 7")["status"] == "success"


def lines():
    return len((ROOT / "examples" / "agents.toml").read_text().splitlines())
