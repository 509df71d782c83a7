"""One task through the logs of a whole system: gateway, worker, the agent's own code and its tool's thread."""

import json
from pathlib import Path
from typing import Any

from .conftest import System

AGENTS = """\
[agents.sums]
prompt = "You compute."
tools = ["sums_agents:calculate"]
"""
CODE = """\
import logging
import structlog

log = logging.getLogger("sums")

def calculate(expression: str) -> str:
    \"\"\"Computes an expression.\"\"\"
    log.info("computed", extra={"expression": expression})
    structlog.get_logger("sums.native").warning("guessed", digits=2)
    return "42"
"""


def test_a_task_is_followed_across_processes(tmp_path: Path) -> None:
    system = System(tmp_path, AGENTS_FILE="mine/agents.toml", LOG_FORMAT="json")
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "agents.toml").write_text(AGENTS)
    (folder / "sums_agents.py").write_text(CODE)
    try:
        system.start()
        headers = {"x-request-id": "mine-1"}
        body = {"message": "Compute 6 * 7", "agent": "sums", "session_id": "s"}
        answer = system.http.post("/task", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        task_id = answer.json()["task_id"]
        assert system.final(task_id)["status"] == "success"
        shown = system.manage("logs", "-f", "--request", "mine-1")
        assert shown.returncode == 0, shown.stderr
        lines = [line.split(" | ", 1)[1] for line in shown.stdout.splitlines()]
        events = [line.split()[4] for line in lines]
        assert events == ["task_submitted", "computed", "guessed", "task_ended"], shown.stdout
        assert " request_id=mine-1" in lines[0]
        for line in lines[1:]:
            assert f" task={task_id} attempt=1 session=s caller=local agent=sums model=Simulator" in line
        assert f"task {task_id} is success" in shown.stderr
        stopped = system.manage("stop")
        assert stopped.returncode == 0, stopped.stderr
        logs = folder.parent / "var" / "logs"
        for name in ("gateway-1", "worker-1", "supervisor"):
            told: list[dict[str, Any]] = [json.loads(line) for line in (logs / f"{name}.log").read_text().splitlines()]
            assert {one["process"] for one in told} == {name.partition("-")[0]}, "arq's and uvicorn's too"
    finally:
        system.end()
