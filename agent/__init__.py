"""Runs LLM agents: LangChain's `create_agent` on a model of the registry, called through LiteLLM.

A library: no Redis, no HTTP server. Importing it loads no LLM library; `agent.runner` does. Who uses it needs
`agent.runner.AgentRunner`, `agent.work.AgentWork`, `agent.meter.Meter` and `agent.errors.AgentError`.
"""

import os

# Before anything imports langgraph, which reads it then: what Redis holds names no class to be imported and called but
# messages, a few plain types, and those that a graph declares as its state.
os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
