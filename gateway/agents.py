"""The agents as the gateway tells of them: what the agents file says, and what the workers say."""

from collections.abc import Iterator, Mapping

from agents_config import AgentConfig
from taskstore.agents import NOBODY_HAS_IT, AgentReport
from taskstore.errors import AgentUnavailable

from .auth import Caller
from .problems import AGENT_PUBLIC_PROBLEM, Problem, problem_of
from .running import Gateway
from .schemas import AgentView


def views(gateway: Gateway, said: Mapping[str, AgentReport], caller: Caller) -> Iterator[AgentView]:
    """One for each agent that a task may name."""
    for name, agent in gateway.agents.items():
        available, problem = _state(name, said)
        yield AgentView(
            name=name,
            description=agent.description,
            model=model_of(gateway, agent),
            available=available,
            problem=problem if problem is None or caller.admin else AGENT_PUBLIC_PROBLEM,
        )


def model_of(gateway: Gateway, agent: AgentConfig) -> str:
    """The model of its tasks that name none."""
    return agent.model or gateway.models.active


def refusal(error: AgentUnavailable, caller: Caller) -> Problem:
    """The 503. Only who runs the system reads why: the reason may name files."""
    problem = problem_of(error)
    assert problem is not None  # noqa: S101 it is in the table
    if not caller.admin:
        return problem
    return Problem(problem.code, f"{problem.detail} Why: {error.problem}", headers=problem.headers)


def _state(name: str, said: Mapping[str, AgentReport]) -> tuple[bool | None, str | None]:
    if not said:
        return None, None
    if name not in said:
        return False, NOBODY_HAS_IT
    return said[name].problem is None, said[name].problem
