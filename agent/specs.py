"""The agents that there are: a prompt and tools each."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from langchain_core.tools import StructuredTool

from agent.database_file import database_file
from agent.errors import AgentError, ErrorCode
from agent.tools import calculator, database, fetch, get_time, search
from core_config import Settings

PROMPTS = Path(__file__).parent / "prompts"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """What makes an agent: with the model's key, what it is built from."""

    prompt: str
    tools: tuple[StructuredTool, ...]


def _default(settings: Settings) -> AgentSpec:
    tools = [calculator.build(), get_time.build(settings), search.build(settings)]
    if settings.fetch_enabled:
        tools.append(fetch.build(settings))
    if (file := database_file(settings)) is not None:
        tools += database.build(file, settings)
    return AgentSpec(prompt=(PROMPTS / "default.md").read_text(encoding="utf-8"), tools=tuple(tools))


AGENTS: dict[str, Callable[[Settings], AgentSpec]] = {"default": _default}
"""By the name that a task gives."""


def spec_of(name: str, settings: Settings) -> AgentSpec:
    """The agent called `name`. Raises AgentError when there is none."""
    if name not in AGENTS:
        raise AgentError(ErrorCode.AGENT_UNKNOWN, f"No agent is called {name[:60]!r}. Known: {', '.join(AGENTS)}.")
    return AGENTS[name](settings)
