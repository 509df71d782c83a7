"""One's own agents in a running system: their code is edited, breaks and is mended, and the others run all the time."""

import shutil
import time
from pathlib import Path

import pytest

from .conftest import System

AGENTS = """
[agents.teller]
description = "Says what it is told to say."
run = "teller:answer"

[agents.counter]
prompt = "Compute what you are asked for."
tools = ["calculator"]
"""
TELLER = """
import asyncio

async def answer(input, ctx):
    if "slow" in str(input):
        await asyncio.sleep(4)
    return "WORD"
"""


@pytest.fixture
def team(tmp_path: Path) -> Path:
    folder = tmp_path / "team"
    folder.mkdir()
    (folder / "agents.toml").write_text(AGENTS)
    (folder / "teller.py").write_text(TELLER.replace("WORD", "one"))
    return folder


def until(look, what: str, within_s: float = 120):
    deadline = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.1)
    return found


def test_code_is_edited_under_a_running_system(make_system, team: Path):
    system: System = make_system(AGENTS_FILE=str(team / "agents.toml"))
    started = system.manage("start", "--reload")
    assert started.returncode == 0, started.stdout + started.stderr
    assert "Warning" not in started.stderr

    def agents():
        return {agent["name"]: agent for agent in system.http.get("/agents").json()["agents"]}

    def teller(**fields):
        return system.ask("tell", agent="teller", **fields)

    assert {name: agent["available"] for name, agent in agents().items()} == {
        "default": True, "teller": True, "counter": True,
    }  # fmt: skip
    assert teller()["result"] == "one"

    # an edit: the task that runs meanwhile ends where it runs, and the next ones run the new code
    slow = system.submit("slow", agent="teller")
    until(lambda: system.http.get(f"/task/{slow}").json()["status"] == "running", "it runs")
    (team / "teller.py").write_text(TELLER.replace("WORD", "two"))
    answers = [until(lambda: (told := teller()["result"]) != "one" and told, "the new code answers")]
    assert answers == ["two"]
    ended = system.final(slow)
    assert (ended["status"], ended["result"], ended["attempt"]) == ("success", "one", 1)

    # a broken edit: this agent is refused, the others run
    (team / "teller.py").write_text("async def answer(input, ctx:\n")
    until(lambda: agents()["teller"]["available"] is False, "it is known to be broken")
    problem = agents()["teller"]["problem"]
    assert f"AGENTS_FILE {team / 'agents.toml'}, line 4, agent 'teller', run: " in problem
    assert f"{team / 'teller.py'}, line 1" in problem
    refused = system.http.post("/task", json={"message": "m", "agent": "teller"})
    assert (refused.status_code, refused.json()["code"]) == (503, "agent_unavailable")
    assert system.ask("Compute 6 * 7", agent="counter")["status"] == "success"
    assert system.ask("Compute 6 * 7")["status"] == "success"
    status = system.manage("status")
    assert status.returncode == 1
    assert f"! agent 'teller': {problem}" in status.stdout

    # mended, and an agent added to the file: workers and gateway take it over, and what is accepted is run
    (team / "teller.py").write_text(TELLER.replace("WORD", "three"))
    shutil.copy(team / "teller.py", team / "newer.py")
    (team / "agents.toml").write_text(AGENTS + '\n[agents.newer]\nrun = "newer:answer"\n')
    until(lambda: system.http.post("/task", json={"message": "m", "agent": "newer"}).status_code == 200, "it is there")
    assert system.ask("tell", agent="newer")["result"] == "three"
    assert teller()["result"] == "three"
    listed = system.http.get("/tasks", params={"limit": 100}).json()["tasks"]
    assert {task["status"] for task in listed if task["agent"] != "newer" or task["status"] != "pending"} == {"success"}
    report = system.status()
    assert (report["problems"], report["reload"]) == ([], True)
    assert all(process["restarts"] == 0 for process in report["processes"])
