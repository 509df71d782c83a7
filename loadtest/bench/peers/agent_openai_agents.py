"""OpenAI's Agents SDK over its chat completions model, tracing off, built once."""

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI

from loadtest.bench.peers import agent_runs
from loadtest.bench.peers.agent_tool import calculator


async def make(url: str) -> agent_runs.Agents:
    set_tracing_disabled(True)
    client = AsyncOpenAI(base_url=url, api_key="none-needed", max_retries=0, timeout=agent_runs.PATIENCE_S)
    model = OpenAIChatCompletionsModel(model="scripted", openai_client=client)
    agent = Agent(name="bench", instructions=agent_runs.PROMPT, model=model, tools=[function_tool(calculator)])

    async def run(message: str) -> str:
        return str((await Runner.run(agent, message)).final_output)

    return {agent_runs.AGENT: run}


if __name__ == "__main__":
    agent_runs.obey(make)
