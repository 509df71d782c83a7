"""docs/tools.md on MCP servers: its agents file works as it stands, its limits are the code's."""

import re
import sys
from pathlib import Path

import pytest

from agent import mcp_server, mcp_stdio, mcp_tools
from agent.mcp_tools import McpTools
from agents_config import McpServerConfig, load_agents
from core_config import ROOT, Settings
from tests.agent.mcp.conftest import call, said
from tests.agent.mcp.web_server import web_server

PAGE = (ROOT / "docs" / "tools.md").read_text(encoding="utf-8")
SECTION = PAGE[PAGE.index("## MCP servers") :]
(TOML,) = re.findall(r"```toml\n(.+?)```", SECTION, re.DOTALL)


async def test_the_agents_file_works_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the interpreter, which is the tests' own, and the address, where a server of the tests' listens."""
    monkeypatch.setenv("CATALOGUE_TOKEN", "tok-77aa12")
    (tmp_path / "agents.toml").write_text(TOML)
    file = load_agents(Settings(_env_file=None, agents_file=tmp_path / "agents.toml"))
    assert file.mcp["warehouse"].command == ".venv/bin/python"
    with web_server() as web:
        servers = {
            "warehouse": file.mcp["warehouse"].model_copy(update={"command": sys.executable, "timeout_seconds": 30.0}),
            "catalogue": file.mcp["catalogue"].model_copy(update={"url": web.url}),
        }
        tools = McpTools(servers)
        try:
            assert await tools.start() == {"warehouse": None, "catalogue": None}
            references = [name for name in file.agents["clerk"].tools if name.startswith("mcp:")]
            offered = [tool.name for reference in references for tool in tools.tools(reference)]
            assert offered == ["warehouse_stock", "warehouse_sold_out", "catalogue_echo"]
            assert all(f"`{name}`" in SECTION for name in offered[:2])
            assert said(await call(tools, "warehouse_stock", product="teapot")) == "teapot: 7 in stock"
            assert said(await call(tools, "catalogue_echo", text="found")) == "found"
            assert {headers.get("authorization") for *_, headers in web.requests} == {"Bearer tok-77aa12"}
        finally:
            await tools.close()


def test_the_limits_are_the_codes() -> None:
    delays = sorted({mcp_server.restart_delay(failures) for failures in range(1, 50)})
    for text in (
        f"after\n  {delays[1]:g}, {delays[2]:g}, {delays[3]:g} … {delays[-1]:g} s",
        f"(`mcp_stderr`, {mcp_stdio.MAX_LOGGED_LINES} lines a minute)",
        f"after {mcp_stdio.STOP_SECONDS:g} s it gets SIGTERM, after {mcp_stdio.STOP_SECONDS:g} s more SIGKILL",
        f"a message over {mcp_stdio.MAX_MESSAGE_BYTES // 2**20} MiB is dropped",
        f"descriptions are cut at {mcp_tools.MAX_DESCRIPTION_CHARS:,} characters",
        f"a schema over {mcp_tools.MAX_SCHEMA_CHARS:,} is refused",
        f"more than {mcp_server.MAX_TOOLS} tools",
        f"and {mcp_tools.MAX_NAME_CHARS} characters are kept",
        f"longest start and longest call ({McpServerConfig(command='x').timeout_seconds:g})",
    ):
        assert text in SECTION
    line = SECTION[SECTION.index("**Its environment**") : SECTION.index("and what `env`")]
    assert tuple(re.findall(r"`(\w+)`", line)) == mcp_stdio.PASSED_ON
    keys = {key for row in re.findall(r"^\| (`.+?) \|", SECTION, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)}
    assert keys == set(McpServerConfig.model_fields)
