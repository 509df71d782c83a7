"""LangChain's create_agent over ChatLiteLLM, built once: what Longhaul's agents are made of, and nothing of Longhaul's.

It has the switches of LiteLLM's own that Longhaul's workers set, so that the difference to them is Longhaul's.
"""

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else the import asks the network for prices
os.environ["EXPERIMENTAL_OPENAI_BASE_LLM_HTTP_HANDLER"] = "true"
os.environ["AIOHTTP_CONNECTOR_LIMIT"] = os.environ["AIOHTTP_CONNECTOR_LIMIT_PER_HOST"] = "20000"

from langchain.agents import create_agent
from langchain_litellm import ChatLiteLLM

from loadtest.bench.peers import agent_runs
from loadtest.bench.peers.agent_tool import calculator


async def make(url: str) -> agent_runs.Agents:
    model = ChatLiteLLM(
        model="openai/scripted", api_base=url, api_key="none-needed", max_retries=1, model_kwargs={"max_retries": 0}
    )
    agent = create_agent(model, [calculator], system_prompt=agent_runs.PROMPT)

    async def run(message: str) -> str:
        state = await agent.ainvoke({"messages": [{"role": "user", "content": message}]})
        return str(state["messages"][-1].content)

    return {agent_runs.AGENT: run}


if __name__ == "__main__":
    agent_runs.obey(make)
