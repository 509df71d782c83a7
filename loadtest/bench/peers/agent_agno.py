"""agno's Agent over its OpenAI-like model, telemetry off, built once."""

from agno.agent import Agent
from agno.models.openai.like import OpenAILike

from loadtest.bench.peers import agent_runs
from loadtest.bench.peers.agent_tool import calculator


async def make(url: str) -> agent_runs.Agents:
    model = OpenAILike(id="scripted", base_url=url, api_key="none-needed", max_retries=0, timeout=agent_runs.PATIENCE_S)
    agent = Agent(model=model, instructions=agent_runs.PROMPT, tools=[calculator], telemetry=False)

    async def run(message: str) -> str:
        return str((await agent.arun(message)).content)

    return {agent_runs.AGENT: run}


if __name__ == "__main__":
    agent_runs.obey(make)
