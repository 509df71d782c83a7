"""Tools of MCP servers: each server runs once for all agents of the worker, each of its tools is a LangChain tool.

    mcp:server          all that the agents file lets that server offer
    mcp:server/tool     one of them

Made on the `mcp` SDK itself. langchain-mcp-adapters, which would wrap its tools, cannot be imported with mcp 2, and
opens a session for each call unless it is given one.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from langchain_core.tools import StructuredTool

from agents_config import McpServerConfig, mcp_reference

if TYPE_CHECKING:
    from mcp_types import Tool

    from agent.mcp_server import McpServer

MAX_DESCRIPTION_CHARS: Final = 2000
MAX_SCHEMA_CHARS: Final = 20_000
MAX_NAME_CHARS: Final = 64
"""Of a tool, as models are told it: the providers allow no more."""


class McpUnavailableError(Exception):
    """What a reference names cannot be used now. The message is safe for callers; the log has the reason."""


class McpTools:
    """The MCP servers of one worker. Used in one event loop: `start`, then `tools`, then `close`."""

    def __init__(self, servers: Mapping[str, McpServerConfig]) -> None:
        self._servers = {name: _server(name, config) for name, config in servers.items()}

    async def start(self) -> dict[str, str | None]:
        """Starts all at once, each for its `timeout_seconds` at most.

        Tells of each None, or what is wrong with it and the remedy: for the operator, as it names commands and
        addresses. Those that failed are tried again until `close`, and may be there later.
        """
        problems = await asyncio.gather(*(server.start() for server in self._servers.values()))
        return dict(zip(self._servers, problems, strict=True))

    def problem(self, server: str) -> str | None:
        """What is wrong with it now, as `start` tells it; None when it runs."""
        return self._servers[server].problem if server in self._servers else "It is not in the agents file."

    def tools(self, reference: str) -> list[StructuredTool]:
        """Those that `mcp:server` or `mcp:server/tool` names. Raises McpUnavailableError.

        They stay usable while their server is started again: calls in between tell the model so.
        """
        name, only = mcp_reference(reference) or (reference, None)
        server = self._servers.get(name)
        if server is None or server.tools is None:
            raise McpUnavailableError(f"The MCP server {name[:100]!r} is not available.")
        if only is not None and only not in server.tools:
            raise McpUnavailableError(f"The MCP server {name!r} has no tool {only[:100]!r} that may be used.")
        chosen = server.tools.values() if only is None else [server.tools[only]]
        made: dict[str, StructuredTool] = {}
        for tool in chosen:
            offered = offered_name(name, tool.name)
            if offered in made:
                raise McpUnavailableError(
                    f"Two tools of the MCP server {name!r} would both be called {offered!r}. Allow one of them."
                )
            made[offered] = _tool(server, offered, tool)
        return list(made.values())

    async def close(self) -> None:
        """Ends all sessions and programs. Closing twice is harmless."""
        await asyncio.gather(*(server.close() for server in self._servers.values()))


def _server(name: str, config: McpServerConfig) -> "McpServer":
    from agent.mcp_server import McpServer  # noqa: PLC0415  the SDK costs half a second and 25 MB: only who uses it pays

    return McpServer(name, config)


def offered_name(server: str, tool: str) -> str:
    """What the model calls it: `server_tool`, in the characters that all providers allow."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", f"{server}_{tool}")[:MAX_NAME_CHARS]


class _McpTool(StructuredTool):
    """Passes on the model's arguments and nothing else.

    StructuredTool puts what it runs with into `config` and `run_manager`, which an MCP tool may have as its own
    arguments.
    """

    async def _arun(self, /, **arguments: Any) -> Any:  # type: ignore[override]  # fewer names on purpose
        if self.coroutine is None:
            raise NotImplementedError("an MCP tool is called asynchronously")
        return await self.coroutine(**arguments)


def _tool(server: "McpServer", offered: str, tool: "Tool") -> StructuredTool:
    async def call(**arguments: Any) -> str:
        return await server.call(tool.name, arguments)

    schema = {"properties": {}, **tool.input_schema, "type": "object"}
    if len(json.dumps(schema)) > MAX_SCHEMA_CHARS:
        raise McpUnavailableError(f"The schema of the tool {offered!r} has more than {MAX_SCHEMA_CHARS} characters.")
    return _McpTool(
        name=offered,
        description=(tool.description or tool.title or tool.name)[:MAX_DESCRIPTION_CHARS],
        args_schema=schema,
        coroutine=call,
    )
