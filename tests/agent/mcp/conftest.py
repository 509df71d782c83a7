import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.mcp_tools import McpTools
from agents_config import McpServerConfig
from tests.agent.scripted_provider import eventually

CHILD = Path(__file__).with_name("child.py")

Started = Callable[..., Awaitable[McpTools]]


def child(*options: str, **config: Any) -> McpServerConfig:
    """The misbehaving server of child.py."""
    return McpServerConfig(command=sys.executable, args=(str(CHILD), *options), **config)


async def call(tools: McpTools, name: str, **arguments: Any) -> str:
    """What the tool `server_name` answers. Raises ToolException."""
    server = name.partition("_")[0]
    tool = next(tool for tool in tools.tools(f"mcp:{server}") if tool.name == name)
    return str(await tool.ainvoke(arguments))


def said(answer: str) -> str:
    """Without the first line, which tells where it is from."""
    return answer.partition("\n\n")[2]


@pytest.fixture
async def started() -> AsyncIterator[Started]:
    """Starts servers, named by keyword, and waits until all run; ends them with the test."""
    all_tools: list[McpTools] = []

    async def start(**servers: McpServerConfig) -> McpTools:
        tools = McpTools(servers)
        all_tools.append(tools)
        await tools.start()  # a short time limit of a test's may be too short for a busy machine: then it is repeated
        await eventually(lambda: not any(map(tools.problem, servers)), seconds=30)
        return tools

    yield start
    for tools in all_tools:
        await tools.close()
