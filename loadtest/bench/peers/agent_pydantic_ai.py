"""pydantic-ai's Agent over its OpenAI chat model, built once."""

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from loadtest.bench.peers import agent_runs
from loadtest.bench.peers.agent_tool import calculator


async def make(url: str) -> agent_runs.Agents:
    model = OpenAIChatModel("scripted", provider=OpenAIProvider(base_url=url, api_key="none-needed"))
    agent = Agent(model, system_prompt=agent_runs.PROMPT, tools=[calculator])

    async def run(message: str) -> str:
        return str((await agent.run(message)).output)

    return {agent_runs.AGENT: run}


if __name__ == "__main__":
    agent_runs.obey(make)
