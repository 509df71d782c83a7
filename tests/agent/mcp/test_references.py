"""Which tools of a server an agent gets, and that no other can be called."""

import pytest
from langchain_core.tools import ToolException

from agent.mcp_server import McpServer
from agent.mcp_tools import MAX_DESCRIPTION_CHARS, McpTools, McpUnavailableError, offered_name
from tests.agent.mcp.conftest import Started, call, child, said


async def test_a_reference_names_all_tools_or_one(started: Started) -> None:
    tools = await started(child=child())
    assert len(tools.tools("mcp:child")) == 13  # five pages of them
    assert [tool.name for tool in tools.tools("mcp:child/echo")] == ["child_echo"]
    assert [tool.name for tool in tools.tools("mcp:child/odd.name/1")] == ["child_odd_name_1"]
    assert said(await call(tools, "child_odd_name_1")) == "odd.name/1 was called"


async def test_the_allow_list_holds_at_the_call() -> None:
    server = McpServer("child", child(tools=("echo",)))
    tools = McpTools({})
    tools._servers["child"] = server
    try:
        assert await tools.start() == {"child": None}
        assert [tool.name for tool in tools.tools("mcp:child")] == ["child_echo"]
        with pytest.raises(McpUnavailableError, match="has no tool 'environment' that may be used"):
            tools.tools("mcp:child/environment")
        for name in ("environment", "no_such_tool"):
            with pytest.raises(ToolException, match=f"has no tool '{name}' that may be used"):
                await server.call(name, {})
        assert said(await server.call("echo", {"text": "allowed"})) == "allowed"
    finally:
        await tools.close()


async def test_an_allowed_tool_that_there_is_not_is_told() -> None:
    tools = McpTools({"child": child(tools=("echo", "ecco"))})
    try:
        told = str((await tools.start())["child"])
        assert told.startswith("It has no tool ecco. It has: arguments, cancelled, die, echo, environment")
        assert told.endswith("Correct `tools`.")
    finally:
        await tools.close()


async def test_what_a_server_says_of_its_tools_is_bounded(started: Started) -> None:
    tools = await started(child=child(), wide=child("schema=30000"))
    assert max(len(tool.description) for tool in tools.tools("mcp:child")) == MAX_DESCRIPTION_CHARS
    with pytest.raises(McpUnavailableError, match="The schema of the tool 'wide_wide' has more than 20000 characters"):
        tools.tools("mcp:wide")
    many = McpTools({"many": child("tools=200")})
    try:
        assert await many.start() == {"many": "It offers more than 200 tools, or never ends to list them."}
    finally:
        await many.close()


async def test_a_server_that_never_ran_is_unavailable_without_its_reason() -> None:
    tools = McpTools({"child": child("exit=3")})
    try:
        await tools.start()
        for reference in ("mcp:child", "mcp:child/echo", "mcp:other"):
            with pytest.raises(McpUnavailableError) as caught:
                tools.tools(reference)
            assert str(caught.value) == f"The MCP server '{reference[4:].partition('/')[0]}' is not available."
    finally:
        await tools.close()


async def test_no_servers_are_no_work() -> None:
    tools = McpTools({})
    assert await tools.start() == {}
    await tools.close()


def test_names_are_what_every_provider_allows() -> None:
    assert offered_name("files", "read") == "files_read"
    assert offered_name("my files", "dir/read.all") == "my_files_dir_read_all"
    assert len(offered_name("s" * 40, "t" * 100)) == 64


async def test_names_that_become_the_same_are_told(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = await started(child=child())
    monkeypatch.setattr("agent.mcp_tools.MAX_NAME_CHARS", 7)  # as of a server with a long name
    with pytest.raises(McpUnavailableError, match="Two tools of the MCP server 'child' would both be called 'child_e'"):
        tools.tools("mcp:child")
