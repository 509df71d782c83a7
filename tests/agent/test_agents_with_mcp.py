"""MCP servers of the agents file: an agent has the tools that it names; one whose server is gone is unavailable."""

import json
import sys

from core_config import ROOT
from tests.agent.conftest import Bench, OwnCode
from tests.agent.scripted_provider import ScriptedProvider, completion

FILE = f"""
[agents.stock]
tools = ["mcp:warehouse/stock"]

[agents.broken]
tools = ["mcp:gone"]

[agents.code]
run = "mine:agent"
tools = ["mcp:warehouse"]

[mcp.warehouse]
command = {json.dumps(sys.executable)}
args = [{json.dumps(str(ROOT / "examples" / "mcp" / "warehouse.py"))}]
timeout_seconds = 60

[mcp.gone]
command = "no-such-program"
"""


async def test_an_agent_has_the_tools_of_its_servers_and_no_other_suffers(
    bench: Bench, own_code: OwnCode, provider: ScriptedProvider
) -> None:
    path = own_code(
        FILE,
        mine="async def agent(given, ctx):\n    stock = ctx.tools['warehouse_stock']\n"
        "    return {'tools': sorted(ctx.tools), 'called': str(await stock.ainvoke({'product': given}))}\n",
    )
    runner = bench.configure()
    assert await runner.prepare() == {
        "default": None,
        "stock": None,
        "broken": f"AGENTS_FILE {path}, line 6, agent 'broken', tools: mcp:gone: There is no program "
        "'no-such-program'. Install it, or correct `command`: it is looked for in PATH.",
        "code": None,
    }
    calls = [("warehouse_stock", {"product": "teapot"}), ("warehouse_sold_out", {})]
    provider.says(completion(calls=calls), completion("Seven."))
    assert await bench.run("How many teapots?", agent="stock") == "Seven."
    assert [tool["function"]["name"] for tool in provider.requests[0].body["tools"]] == ["warehouse_stock"]
    told, refused = (m["content"] for m in provider.requests[1].body["messages"] if m["role"] == "tool")
    assert "teapot: 7 in stock" in told
    assert "warehouse_sold_out is not a valid tool, try one of [warehouse_stock]" in refused
    answer = await bench.answer("code", "oolong")
    assert answer.data["tools"] == ["warehouse_sold_out", "warehouse_stock"]
    assert "oolong: 0 in stock" in answer.data["called"]
    assert [(step.kind, step.name, step.error) for step in bench.steps] == [("tool", "warehouse_stock", None)] * 2
