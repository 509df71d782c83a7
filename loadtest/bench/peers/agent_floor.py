"""The floor of an agent's cost: a loop over a bare aiohttp client that sends a conversation and calls a function."""

import json

import aiohttp

from loadtest.bench.peers import agent_runs
from loadtest.bench.peers.agent_tool import calculator

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "calculator",
            "description": "Compute an arithmetic expression.",
            "parameters": {
                "type": "object",
                "properties": {"expression": {"type": "string"}},
                "required": ["expression"],
            },
        },
    }
]


async def make(url: str) -> agent_runs.Agents:
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def run(message: str) -> str:
        messages = [{"role": "system", "content": agent_runs.PROMPT}, {"role": "user", "content": message}]
        while True:
            asked = {"model": "scripted", "messages": messages, "tools": TOOLS}
            async with session.post(f"{url}/chat/completions", json=asked) as response:
                said = (await response.json())["choices"][0]["message"]
            if not said.get("tool_calls"):
                return str(said["content"])
            messages.append(said)
            for call in said["tool_calls"]:
                given = json.loads(call["function"]["arguments"])
                result = await calculator(**given)
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})

    return {agent_runs.AGENT: run}


if __name__ == "__main__":
    agent_runs.obey(make)
