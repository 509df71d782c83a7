"""The agents that there are: what the agents file says of each, with its tools and its code found."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.tools import StructuredTool

from agent.database_file import database_file
from agent.errors import AgentError, ErrorCode, UnavailableError
from agent.imports import add_to_path, imported
from agent.mcp_tools import McpTools, McpUnavailableError
from agent.own_tools import as_tool
from agent.tools import calculator, database, fetch, get_time, search
from agent.typed_output import OUTPUT_TOOL
from agents_config import BUILTIN, BUILTIN_TOOLS, AgentConfig, AgentsFile, mcp_reference
from core_config import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """What makes an agent: with the model's key, what it is built from."""

    name: str
    config: AgentConfig
    tools: tuple[StructuredTool, ...]
    code: Any = None
    """What `run` names; None for an agent that is described."""
    where: str = ""
    """Begins a problem with the agent's code."""


class Specs:
    """Every agent of the agents file. One that has been found stays as it was found."""

    def __init__(self, agents: AgentsFile, settings: Settings, mcp: McpTools | None = None) -> None:
        self.file = agents
        self._mcp = mcp or McpTools({})
        self._builtin = builtin_tools(settings)
        self._found: dict[str, AgentSpec | UnavailableError] = {}
        add_to_path(agents.path)

    def find(self, name: str) -> AgentSpec:
        """Raises AgentError when there is no such agent, UnavailableError when it cannot be had."""
        if name not in self.file.agents:
            known = ", ".join(self.file.agents)
            raise AgentError(ErrorCode.AGENT_UNKNOWN, f"No agent is called {name[:60]!r}. Known: {known}.")
        found = self._found.get(name) or self._try(name)
        if isinstance(found, UnavailableError):
            raise found
        return found

    def _try(self, name: str) -> AgentSpec | UnavailableError:
        config = self.file.agents[name]
        where = self.file.where(name, "run")
        try:
            code = None if config.run is None else imported(config.run, where)
            spec = AgentSpec(name=name, config=config, tools=self._tools(name, config), code=code, where=where)
        except UnavailableError as error:
            if not any(map(mcp_reference, config.tools)):  # a server may come back, code that was read does not change
                self._found[name] = error
            return error
        self._found[name] = spec
        return spec

    def _tools(self, name: str, config: AgentConfig) -> tuple[StructuredTool, ...]:
        tools: dict[str, StructuredTool] = {}
        for reference in config.tools:
            where = self.file.where(name, "tools")
            for tool in self._named(reference, where):
                if tool.name == OUTPUT_TOOL:
                    raise UnavailableError(
                        f"{where}: {reference} is called {OUTPUT_TOOL!r}, as answers are. Rename it."
                    )
                if tools.setdefault(tool.name, tool) is not tool:
                    raise UnavailableError(f"{where}: two of them are called {tool.name!r}. Rename one of them.")
        return tuple(tools.values())

    def _named(self, reference: str, where: str) -> list[StructuredTool]:
        if reference == BUILTIN:
            return [tool for tools in self._builtin.values() for tool in tools]
        if reference in BUILTIN_TOOLS:
            if reference not in self._builtin:
                setting = {"fetch": "FETCH_ENABLED=true", "database": "DATABASE_URL"}[reference]
                raise UnavailableError(f"{where}: {reference!r} is switched off. Set {setting}, or take it out.")
            return self._builtin[reference]
        if (named := mcp_reference(reference)) is not None:
            try:
                return self._mcp.tools(reference)
            except McpUnavailableError as error:
                raise UnavailableError(f"{where}: {reference}: {self._mcp.problem(named[0]) or error}") from None
        return [as_tool(imported(reference, where), reference, where)]


def builtin_tools(settings: Settings) -> Mapping[str, list[StructuredTool]]:
    """Those of BUILTIN_TOOLS that are switched on. Raises ConfigurationError when DATABASE_URL cannot work."""
    tools = {
        "calculator": [calculator.build()],
        "get_time": [get_time.build(settings)],
        "search": [search.build(settings)],
    }
    if settings.fetch_enabled:
        tools["fetch"] = [fetch.build(settings)]
    if (file := database_file(settings)) is not None:
        tools["database"] = database.build(file, settings)
    return tools
