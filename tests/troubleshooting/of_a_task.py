"""What a task says that failed, or that did not run on what one thought."""

import json
from pathlib import Path
from typing import Any

from longhaul_testing.alone import Alone
from longhaul_testing.simulated_model import Simulator
from longhaul_testing.task import Task

from .provoke import provokes


def said(task: Task) -> str:
    """As `GET /task/{id}` shows it."""
    return json.dumps({"result": task.result, "error": task.error, "error_code": task.error_code})


def failing(simulator: Simulator, run_agent: Alone, directives: str, **how: Any) -> str:
    simulator.will_do(directives)
    return said(run_agent("hello", **how))


@provokes("simulated")
def a_simulated_answer(run_agent: Alone) -> str:
    return said(run_agent("hello"))


@provokes("provider-auth")
def a_wrong_key(run_agent: Alone, simulator: Simulator) -> str:
    return failing(simulator, run_agent, "error=openai_invalid_key")


@provokes("provider-no-balance")
def an_empty_account(run_agent: Alone, simulator: Simulator) -> str:
    return failing(simulator, run_agent, "error=deepseek_no_balance")


@provokes("provider-rate-limited")
def too_many_calls(run_agent: Alone, simulator: Simulator) -> str:
    return failing(simulator, run_agent, "error=openai_rate_limit")


@provokes("provider-unavailable")
def a_proxy_in_the_way(run_agent: Alone, simulator: Simulator) -> str:
    return failing(simulator, run_agent, "error=proxy_bad_gateway")


@provokes("provider-timeout")
def a_model_that_says_nothing(run_agent: Alone, simulator: Simulator) -> str:
    return failing(simulator, run_agent, "hang", settings={"MODEL_TIMEOUT_SECONDS": 0.3})


@provokes("provider-bad-response")
def half_an_answer(run_agent: Alone, simulator: Simulator) -> str:
    return failing(simulator, run_agent, "broken_json")


@provokes("model-unavailable")
def a_retired_model(run_agent: Alone, simulator: Simulator) -> str:
    return failing(simulator, run_agent, "error=deepseek_unknown_model")


@provokes("content-blocked")
def a_blocked_message(run_agent: Alone, simulator: Simulator) -> str:
    return failing(simulator, run_agent, "error=dashscope_data_inspection")


@provokes("context-too-long")
def a_message_that_is_too_long(run_agent: Alone, simulator: Simulator) -> str:
    return failing(simulator, run_agent, "error=openai_context_length")


@provokes("answer-truncated")
def an_answer_that_is_cut(run_agent: Alone, simulator: Simulator) -> str:
    return failing(simulator, run_agent, "cut")


@provokes("max-iterations")
def an_agent_that_never_stops(run_agent: Alone) -> str:
    return said(run_agent("hello [[loop]]", settings={"AGENT_MAX_ITERATIONS": 2}))


@provokes("agent-unavailable")
def an_agent_whose_code_is_not_there(run_agent: Alone, tmp_path: Path) -> str:
    (tmp_path / "agents.toml").write_text('[agents.mine]\nrun = "no_such_module_of_mine:run"\n')
    return said(run_agent("hello", agent="mine", settings={"AGENTS_FILE": tmp_path / "agents.toml"}))


@provokes("agent-failed")
def an_agent_whose_code_fails(run_agent: Alone, tmp_path: Path) -> str:
    (tmp_path / "troubled_agent.py").write_text('async def run(message, ctx):\n    return {}["missing"]\n')
    (tmp_path / "agents.toml").write_text('[agents.mine]\nrun = "troubled_agent:run"\n')
    return said(run_agent("hello", agent="mine", settings={"AGENTS_FILE": tmp_path / "agents.toml"}))
